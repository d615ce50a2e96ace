package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/transporttest"
)

// certificate writes a certificate for localhost and its key.
func certificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	certFile, keyFile, roots, err := transporttest.SelfSignedFiles(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, roots
}

func startSecure(t *testing.T, args ...string) (s *running, certFile string, client *http.Client) {
	t.Helper()
	certFile, keyFile, roots := certificate(t)
	s = startServe(t, append([]string{"--tls-cert", certFile, "--tls-key", keyFile}, args...)...)
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return s, certFile, &http.Client{Transport: transport, Timeout: patience}
}

// TestServeTLSWithCurl: every kind of request with curl, over both versions of
// HTTP.
func TestServeTLSWithCurl(t *testing.T) {
	needtest.Program(t, "curl")
	s, certFile, _ := startSecure(t)
	if !strings.HasPrefix(s.url, "https://localhost:") {
		t.Fatalf("it is at %s", s.url)
	}
	curl := func(args, want []string) {
		t.Helper()
		ctx, leave := context.WithCancel(t.Context())
		cmd := osexec.CommandContext(ctx, "curl", append([]string{"--silent", "--show-error", "--include", "--no-buffer", "--cacert", certFile, "--write-out", "\n"}, args...)...)
		out := newLines()
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			leave()
			cmd.Wait()
		}()
		for _, pattern := range want {
			out.wait(t, pattern)
		}
	}
	for option, version := range map[string]string{"--http2": "HTTP/2 ", "--http1.1": "HTTP/1.1 "} {
		room := s.url + "/rooms/" + strings.Trim(option, "-")
		for _, tt := range []struct {
			args []string
			want []string
		}{
			{[]string{"-d", `{"text":"hello"}`, room}, []string{`"offset":1`, version + "201"}},
			{[]string{room + "?from=start&wait=0"}, []string{`"data":\{"text":"hello"\}`, version + "200"}},
			{[]string{room + "/sse?from=start"}, []string{"event: hello", `"data":\{"text":"hello"\}`, version + "200"}},
			{[]string{room + "/stream?from=start"}, []string{`"type":"hello"`, `"data":\{"text":"hello"\}`, version + "200"}},
			{[]string{room + "/ws"}, []string{`"code":"upgrade_required"`, version + "426"}},
			{[]string{"-X", "PUT", room}, []string{`"code":"unsupported_method"`, version + "405"}},
			{[]string{room + "?cursor=nonsense"}, []string{`"code":"bad_cursor"`, version + "400"}},
			{[]string{s.url + "/doctor/echo"}, []string{`"protocol":"` + strings.Replace(strings.TrimSpace(version), "HTTP/2", "HTTP/2.0", 1) + `"`, version + "200"}},
		} {
			curl(append([]string{option}, tt.args...), tt.want)
		}
	}
}

// TestServeTLSDrains: readers of all transports over TLS, streams and polls over
// one HTTP/2 connection, are told to come back.
func TestServeTLSDrains(t *testing.T) {
	goroutines(t)
	s, _, client := startSecure(t, "--reconnect-spread", "1s", "--drain-timeout", "1m")
	roots := client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots}}
	socket, _, err := dialer.DialContext(deadline(t), "wss"+strings.TrimPrefix(s.url, "https")+"/rooms/lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	type answer struct{ path, text string }
	answers := make(chan answer, 3)
	for _, path := range []string{"/rooms/lobby/sse", "/rooms/lobby/stream", "/rooms/lobby?wait=55"} {
		go func() {
			resp, err := client.Get(s.url + path)
			if err != nil {
				answers <- answer{path, err.Error()}
				return
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.ProtoMajor != 2 {
				text = append(text, " "+resp.Proto...)
			}
			answers <- answer{path, string(text)}
		}()
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get(s.url + "/rooms/lobby/stats")
		if err != nil {
			t.Fatal(err)
		}
		stats, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if strings.Contains(string(stats), `"ndjson":1`) && strings.Contains(string(stats), `"sse":1`) &&
			strings.Contains(string(stats), `"poll":1`) && strings.Contains(string(stats), `"ws":1`) {
			break
		}
		if time.Since(begin) > patience {
			t.Fatalf("not all are here: %s", stats)
		}
	}
	s.cancel()
	for range 3 {
		if a := <-answers; !strings.Contains(a.text, `"bye"`) || strings.HasSuffix(a.text, "HTTP/1.1") {
			t.Errorf("%s: %s", a.path, a.text)
		}
	}
	for {
		_, _, err := socket.ReadMessage()
		if websocket.IsCloseError(err, 4100) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	client.CloseIdleConnections()
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if strings.Contains(s.err.String(), "cut off") {
		t.Errorf("readers were cut off:\n%s", s.err)
	}
}

// TestServeCountsConnections: many streams of one HTTP/2 connection are one
// connection, and one that was taken over still is one.
func TestServeCountsConnections(t *testing.T) {
	s, _, client := startSecure(t, "--max-connections", "3")
	open := func(client *http.Client) *http.Response {
		t.Helper()
		resp, err := client.Get(s.url + "/rooms/lobby/sse")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	for range 3 { // as many streams as the hub has places
		if resp := open(client); resp.StatusCode != http.StatusOK {
			t.Errorf("a stream is answered %d", resp.StatusCode)
		}
	}
	if resp := open(client); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one stream more is answered %d", resp.StatusCode)
	}
	roots := client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	other := func() *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: patience}
	}
	health := func() int {
		t.Helper()
		resp, err := other().Get(s.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body) // so that the connection is kept
		resp.Body.Close()
		return resp.StatusCode
	}
	for range 2 {
		if status := health(); status != http.StatusOK {
			t.Errorf("a connection that has a place is answered %d", status)
		}
	}
	if status := health(); status != http.StatusServiceUnavailable {
		t.Errorf("the fourth connection is answered %d", status)
	}
}

func TestServeTLSRefuses(t *testing.T) {
	certFile, keyFile, _ := certificate(t)
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--tls-cert", certFile}, exitUsage, "--tls-cert and --tls-key belong together"},
		{[]string{"--tls-key", keyFile}, exitUsage, "--tls-cert and --tls-key belong together"},
		{[]string{"--tls-cert", certFile + "x", "--tls-key", keyFile}, exitFailed, "--tls-cert, --tls-key: "},
		{[]string{"--tls-cert", keyFile, "--tls-key", keyFile}, exitFailed, "are no certificate and its key"},
	} {
		status, _, errOut := exec(t, "", nil, append([]string{"--listen", "localhost:0"}, tt.args...)...)
		if status != tt.status || !strings.Contains(errOut, tt.want) {
			t.Errorf("%q: %d %s", tt.args, status, errOut)
		}
	}
}
