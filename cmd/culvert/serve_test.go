package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// request sends one request on a connection of its own and returns the answer.
func request(t testing.TB, method, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(deadline(t), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// send opens a connection and sends text, which may be half a request.
func send(t testing.TB, url, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServe(t *testing.T) {
	goroutines(t)
	s := startServe(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, answer := request(t, "GET", s.url+path, ""); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	if status, answer := request(t, "POST", s.url+"/rooms/lobby", `{"text":"hello"}`); status != http.StatusCreated {
		t.Errorf("publish: %d %s", status, answer)
	}
	if status, answer := request(t, "GET", s.url+"/rooms/lobby?from=start&wait=1", ""); status != http.StatusOK || !strings.Contains(answer, `"data":{"text":"hello"}`) {
		t.Errorf("poll: %d %s", status, answer)
	}
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if !strings.Contains(s.err.String(), "msg=stopped") || s.out.String() != "" {
		t.Errorf("out %q, err\n%s", s.out, s.err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

// TestServeClientFiles: the browser client and the pages come with the server.
func TestServeClientFiles(t *testing.T) {
	s := startServe(t)
	for path, want := range map[string]string{"/culvert.js": "export", "/culvert.global.js": "", "/culvert.d.ts": "export", "/culvert.legacy.js": ""} {
		if status, text := request(t, "GET", s.url+path, ""); status != http.StatusOK || text == "" || !strings.Contains(text, want) {
			t.Errorf("%s: %d, %d bytes", path, status, len(text))
		}
	}
	for _, path := range []string{"/", "/doctor"} {
		r, err := http.NewRequestWithContext(deadline(t), "GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		r.Close = true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/html") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, kind)
		}
	}
	if status, text := request(t, "GET", s.url+"/other.js", ""); status != http.StatusNotFound || !strings.Contains(text, `"code":"not_found"`) {
		t.Errorf("/other.js: %d %s", status, text)
	}
}

// TestServeIsReadyWhenItSaysSo: the first request after the line is answered.
func TestServeIsReadyWhenItSaysSo(t *testing.T) {
	for range 5 {
		s := startServe(t)
		if status, _ := request(t, "GET", s.url+"/readyz", ""); status != http.StatusOK {
			t.Errorf("readyz: %d", status)
		}
		s.stop()
	}
}

// TestServeSettingsArrive: settings that other packages carry out.
func TestServeSettingsArrive(t *testing.T) {
	s := startServe(t, "--poll-wait", "1s", "--max-message-bytes", "10", "--max-batch", "2", "--max-batch-bytes", "1KiB",
		"--max-rooms-per-connection", "2", "--history-messages", "1", "--node-id", "n1", "--allow-origin", "https://example.org")
	for _, tt := range []struct{ method, path, body, want string }{
		{"GET", "/rooms/lobby", "", `"messages":[]`}, // after a second
		{"POST", "/rooms/lobby", "12345678901", `"code":"message_too_large"`},
		{"POST", "/publish", `[{"room":"a","data":1},{"room":"a","data":1},{"room":"a","data":1}]`, `"code":"batch_too_large"`},
		{"POST", "/publish", strings.Repeat(" ", 1025), `"code":"body_too_large"`},
		{"GET", "/rooms/a,b,c?wait=0", "", `"code":"too_many_rooms"`},
		{"POST", "/publish", `[{"room":"a","data":1},{"room":"a","data":2}]`, `"offset":2`},
		{"GET", "/rooms/a?cursor=0&wait=0", "", `"reason":"evicted"`},
		{"GET", "/stats", "", `"node":"n1"`},
	} {
		if _, answer := request(t, tt.method, s.url+tt.path, tt.body); !strings.Contains(answer, tt.want) {
			t.Errorf("%s %s %s: %s, want %s", tt.method, tt.path, tt.body, answer, tt.want)
		}
	}
	r, err := http.NewRequest("GET", s.url+"/rooms/a/history", nil)
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]int{"https://example.org": 200, "https://example.com": 403, "http://localhost:3000": 200} {
		r.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("origin %s: %d, want %d", origin, resp.StatusCode, want)
		}
	}
}

// TestServeBarePath: a page's own path, and its heartbeat.
func TestServeBarePath(t *testing.T) {
	s := startServe(t, "--bare-path", "/ws/chat/{room}/", "--bare-heartbeat", "--heartbeat--", "--heartbeat", "1s")
	socket, _, err := websocket.DefaultDialer.DialContext(deadline(t), "ws"+strings.TrimPrefix(s.url, "http")+"/ws/chat/lobby/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetReadDeadline(time.Now().Add(patience))
	if err := socket.WriteMessage(websocket.TextMessage, []byte(`{"message":"hi"}`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{"message":"hi"}`, "--heartbeat--"} {
		if _, text, err := socket.ReadMessage(); err != nil || string(text) != want {
			t.Fatalf("%q, %v, want %q", text, err, want)
		}
	}
}

// TestServeCompresses: where it is told to, and the client offers it.
func TestServeCompresses(t *testing.T) {
	large := `"` + strings.Repeat("large ", 1000) + `"`
	for _, tt := range []struct {
		args  []string
		offer bool
		want  bool
	}{
		{nil, true, false},
		{[]string{"--compress-from", "1KiB"}, true, true},
		{[]string{"--compress-from", "1KiB"}, false, false},
	} {
		s := startServe(t, tt.args...)
		dialer := websocket.Dialer{EnableCompression: tt.offer}
		socket, resp, err := dialer.DialContext(deadline(t), "ws"+strings.TrimPrefix(s.url, "http")+"/rooms/lobby", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		if agreed := resp.Header.Get("Sec-WebSocket-Extensions") != ""; agreed != tt.want {
			t.Errorf("%q, offered %v: agreed %v", tt.args, tt.offer, agreed)
		}
		socket.SetReadDeadline(time.Now().Add(patience))
		for _, want := range []string{`"type":"hello"`, large} {
			if _, text, err := socket.ReadMessage(); err != nil || !strings.Contains(string(text), want) {
				t.Fatalf("%.200q, %v, want %.50q", text, err, want)
			}
			if want != large { // only now does the reader have its place in the room
				request(t, "POST", s.url+"/rooms/lobby", large)
			}
		}
	}
}

func TestServePortInUse(t *testing.T) {
	first := startServe(t)
	address := strings.TrimPrefix(first.url, "http://")
	status, out, errOut := exec(t, "", nil, "--listen", address)
	if status != exitFailed || out != "" || !strings.Contains(errOut, "culvert serve: --listen: 127.0.0.1:") || !strings.Contains(errOut, "is in use by another program") {
		t.Errorf("status %d, out %q, err %q", status, out, errOut)
	}
}

func TestServeInsecure(t *testing.T) {
	s := startServe(t, "--listen", "0.0.0.0:0", "--insecure")
	if status, _ := request(t, "GET", s.url+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz: %d", status)
	}
}

func TestServeLogsJSON(t *testing.T) {
	r := start(t, strings.NewReader(""), "--listen", "localhost:0", "--log-format", "json", "--log-level", "debug", "--pprof", "localhost:0")
	r.url = r.err.wait(t, `"url":"(http://localhost:\d+)","address"`)
	request(t, "GET", r.url+"/rooms/lobby?wait=0", "")
	profiles := r.err.wait(t, `"serving profiles","url":"([^"]+)"`)
	if status, page := request(t, "GET", profiles, ""); status != http.StatusOK || !strings.Contains(page, "goroutine") {
		t.Errorf("profiles: %d", status)
	}
	r.stop()
	for line := range strings.Lines(r.err.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestServeProfilesOnLoopbackOnly(t *testing.T) {
	status, _, errOut := exec(t, "", nil, "--listen", "localhost:0", "--pprof", "0.0.0.0:0", "--insecure")
	if status == exitOK || !strings.Contains(errOut, "--pprof") {
		t.Errorf("status %d, err %s", status, errOut)
	}
}

// halfRequests are what a slow or broken client may have sent.
var halfRequests = []string{
	"", "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\n",
	"POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
	"POST /publish HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[{\"ro",
	"POST /rooms/lobby/poll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ncursor=",
}

// TestServeWithHalfRequests: they delay nobody, and not the end either.
func TestServeWithHalfRequests(t *testing.T) {
	goroutines(t)
	s := startServe(t, "--drain-timeout", "500ms")
	for _, text := range halfRequests {
		for range 20 {
			send(t, s.url, text)
		}
	}
	if status, answer := request(t, "POST", s.url+"/rooms/lobby", "x"); status != http.StatusCreated {
		t.Errorf("publish: %d %s", status, answer)
	}
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if !strings.Contains(s.err.String(), "cut off") {
		t.Errorf("the log does not say that clients were cut off:\n%s", s.err)
	}
}

func TestServeTooManyConnections(t *testing.T) {
	s := startServe(t, "--max-connections", "3")
	for range 3 {
		c := send(t, s.url, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	status, answer := request(t, "GET", s.url+"/healthz", "")
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code":"too_many_connections"`) {
		t.Errorf("%d %s", status, answer)
	}
}

// TestSignals: the built program, once for each way to end it.
func TestSignals(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			p := startProcess(t)
			poll := send(t, p.url, "GET /rooms/lobby?wait=55 HTTP/1.1\r\nHost: localhost\r\n\r\n")
			waitForReaders(t, p.url, 1)
			p.signal(s)
			answer, _ := io.ReadAll(poll) // the poll is answered, not broken
			if !bytes.Contains(answer, []byte(`"cursor":"lobby=0`)) || !bytes.Contains(answer, []byte(`"bye"`)) {
				t.Errorf("the poll got %s", answer)
			}
			if status := p.wait(); status != exitOK {
				t.Errorf("exit status %d\n%s", status, p.err)
			}
		})
	}
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run("second "+s.String(), func(t *testing.T) {
			p := startProcess(t, "--drain-timeout", "10m")
			send(t, p.url, "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n").Read(make([]byte, 1))
			p.signal(syscall.SIGTERM)
			p.err.wait(t, "shutting down")
			p.signal(s)
			if status := p.wait(); status != 128+int(s) {
				t.Errorf("exit status %d\n%s", status, p.err)
			}
		})
	}
}

// waitForReaders waits until the server counts n readers of the room lobby.
func waitForReaders(t testing.TB, url string, n int) {
	t.Helper()
	for ctx := deadline(t); ctx.Err() == nil; {
		_, answer := request(t, "GET", url+"/rooms/lobby/stats", "")
		var stats struct{ Subscribers map[string]int }
		if err := json.Unmarshal([]byte(answer), &stats); err != nil {
			t.Fatalf("%v in %s", err, answer)
		}
		count := 0
		for _, c := range stats.Subscribers {
			count += c
		}
		if count == n {
			return
		}
	}
	t.Fatalf("there are never %d readers", n)
}

// BenchmarkStart is from the start of the process to its first answer.
func BenchmarkStart(b *testing.B) {
	if _, err := program(); err != nil { // the build is not what is measured
		b.Fatal(err)
	}
	for b.Loop() {
		p := startProcess(b)
		request(b, "GET", p.url+"/readyz", "")
		b.StopTimer()
		p.cmd.Process.Kill()
		p.wait()
		b.StartTimer()
	}
}
