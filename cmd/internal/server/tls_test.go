package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/transporttest"
)

// files writes a new certificate and its key into a folder.
func files(t *testing.T, folder string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	certFile, keyFile, roots, err := transporttest.SelfSignedFiles(folder)
	if err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, roots
}

func startTLS(t *testing.T, o Options) *Server {
	t.Helper()
	listeners, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	s := New(listeners, o)
	s.Start()
	t.Cleanup(func() { stop(t, s) })
	return s
}

// TestTLS: HTTP/2 for who wants it, HTTP/1.1 for the others, and nothing older
// than TLS 1.2.
func TestTLS(t *testing.T) {
	certFile, keyFile, roots := files(t, t.TempDir())
	logger := slog.New(slog.DiscardHandler)
	c, err := LoadCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	s := startTLS(t, Options{Logger: logger, TLS: c.Config(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto)
	})})
	for _, tt := range []struct {
		protocols []string
		max       uint16
		want      string
	}{
		{[]string{"h2", "http/1.1"}, tls.VersionTLS13, "HTTP/2.0"},
		{[]string{"h2"}, tls.VersionTLS12, "HTTP/2.0"},
		{[]string{"http/1.1"}, tls.VersionTLS13, "HTTP/1.1"},
		{nil, tls.VersionTLS12, "HTTP/1.1"},
		{nil, tls.VersionTLS11, ""},
	} {
		transport := &http.Transport{ForceAttemptHTTP2: len(tt.protocols) > 0 && tt.protocols[0] == "h2",
			TLSClientConfig: &tls.Config{RootCAs: roots, NextProtos: tt.protocols, MinVersion: tls.VersionTLS10, MaxVersion: tt.max}}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr().String())
		if err != nil {
			if tt.want != "" {
				t.Errorf("%v, TLS %x: %v", tt.protocols, tt.max, err)
			}
			continue
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		transport.CloseIdleConnections()
		if string(got) != tt.want {
			t.Errorf("%v, TLS %x: %s, want %q", tt.protocols, tt.max, got, tt.want)
		}
	}
	// Who speaks plain HTTP is told so.
	resp, err := http.Get("http://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP is answered %d", resp.StatusCode)
	}
}

// TestCertificateReplaced: connections get the new one as soon as both files
// are there, and the old one as long as they do not belong together.
func TestCertificateReplaced(t *testing.T) {
	folder := t.TempDir()
	certFile, keyFile, _ := files(t, folder)
	var log bytes.Buffer
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		c.looked = time.Time{} // as if a second had passed
		got, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return got.Leaf.SerialNumber.String()
	}
	first := shown()
	oldKey, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	files(t, folder)
	newKey, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	put := func(b []byte) {
		if err := os.WriteFile(keyFile, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(oldKey)
	for range 3 {
		if got := shown(); got != first {
			t.Error("a certificate without its key is shown")
		}
	}
	if n := strings.Count(log.String(), "the old one stays"); n != 1 {
		t.Errorf("said %d times:\n%s", n, &log)
	}
	os.Remove(keyFile)
	if got := shown(); got != first {
		t.Error("a certificate without its key is shown")
	}
	put(newKey)
	if got := shown(); got == first || !strings.Contains(log.String(), "has been replaced") {
		t.Errorf("the new certificate is not shown:\n%s", &log)
	}
	// A second has not passed: the files are not looked at.
	second, _ := c.get(nil)
	files(t, folder)
	if now, _ := c.get(nil); now != second {
		t.Error("the files are looked at for every connection")
	}
}

func TestLoadCertificateRefuses(t *testing.T) {
	certFile, keyFile, _ := files(t, t.TempDir())
	for _, tt := range [][2]string{{certFile + "x", keyFile}, {certFile, keyFile + "x"}, {keyFile, certFile}, {certFile, certFile}} {
		if _, err := LoadCertificate(tt[0], tt[1], slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s with %s was taken", filepath.Base(tt[0]), filepath.Base(tt[1]))
		}
	}
}

// TestTooManyConnectionsTLS: who is refused can read why.
func TestTooManyConnectionsTLS(t *testing.T) {
	certFile, keyFile, roots := files(t, t.TempDir())
	logger := slog.New(slog.DiscardHandler)
	c, err := LoadCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	s := startTLS(t, Options{Logger: logger, TLS: c.Config(), Handler: echo, MaxConnections: 1})
	client := func() *http.Client {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport, Timeout: time.Minute}
	}
	first := client()
	for range 20 { // many requests on one connection
		resp, err := first.Get("https://" + s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Fatalf("%s %d", resp.Proto, resp.StatusCode)
		}
	}
	resp, err := client().Get("https://" + s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var told struct {
		Protocol int
		Error    struct{ Code string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&told); err != nil || resp.StatusCode != 503 || told.Protocol != 1 || told.Error.Code != "too_many_connections" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %+v %v", resp.StatusCode, told, err)
	}
}

// TestFrozenHTTP2: a connection whose client opens every window and then takes
// nothing is closed, with all its streams.
func TestFrozenHTTP2(t *testing.T) {
	certFile, keyFile, roots := files(t, t.TempDir())
	logger := slog.New(slog.DiscardHandler)
	c, err := LoadCertificate(certFile, keyFile, logger)
	if err != nil {
		t.Fatal(err)
	}
	const streams = 3
	ended := make(chan error, streams)
	s := startTLS(t, Options{Logger: logger, TLS: c.Config(), WriteTimeout: 300 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		filling := make([]byte, 64<<10)
		for {
			if _, err := w.Write(filling); err != nil {
				ended <- err
				return
			}
		}
	})})
	client, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	frames := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x7f\xff\xff\xff" + // SETTINGS: every stream may send 2 GiB
		"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + "\x7f\xff\x00\x00") // WINDOW_UPDATE: and so may the connection
	for i := range streams {
		// HEADERS, the whole of a GET / to the authority a
		frames = append(frames, "\x00\x00\x06\x01\x05\x00\x00\x00"+string(rune(2*i+1))+"\x82\x84\x87\x41\x01a"...)
	}
	if _, err := client.Write(frames); err != nil {
		t.Fatal(err)
	}
	for range streams {
		select {
		case <-ended:
		case <-time.After(AnswerTimeout / 2):
			t.Fatal("a stream goes on that nobody reads")
		}
	}
}
