package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// reader is one open connection of a test; its last word is told by end.
type reader struct {
	name string
	end  func() string
}

// openReaders opens one reader of each transport in the room lobby.
func openReaders(t *testing.T, url string) []reader {
	t.Helper()
	socket, _, err := websocket.DefaultDialer.DialContext(deadline(t), "ws"+strings.TrimPrefix(url, "http")+"/rooms/lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	open := func(accept, query string) *bufio.Reader {
		c := send(t, url, "GET /rooms/lobby"+query+" HTTP/1.1\r\nHost: localhost\r\nAccept: "+accept+"\r\n\r\n")
		return bufio.NewReader(c)
	}
	rest := func(r *bufio.Reader) func() string {
		return func() string {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return err.Error()
			}
			text, err := io.ReadAll(resp.Body)
			if err != nil { // a stream has an end too, it does not break
				return err.Error()
			}
			return string(text)
		}
	}
	return []reader{
		{"ws", func() string {
			last := ""
			for {
				_, text, err := socket.ReadMessage()
				var closed *websocket.CloseError
				if errors.As(err, &closed) && closed.Code == 4100 {
					return last
				}
				if err != nil {
					return err.Error()
				}
				last = string(text)
			}
		}},
		{"sse", rest(open("text/event-stream", ""))},
		{"ndjson", rest(open("application/x-ndjson", ""))},
		{"poll", rest(open("*/*", "?wait=55"))},
	}
}

// TestServeDrains: readers of every transport are told to come back, each at
// its own time, and the server ends at once when they are gone.
func TestServeDrains(t *testing.T) {
	goroutines(t)
	s := startServe(t, "--reconnect-spread", "7s", "--drain-timeout", "1m")
	readers := openReaders(t, s.url)
	waitForReaders(t, s.url, len(readers))
	s.cancel()
	for _, r := range readers {
		last := r.end()
		_, bye, ok := strings.Cut(last, `"bye"`)
		if !ok || !strings.Contains(last, "lobby=0") {
			t.Errorf("%s: no bye with a cursor in %q", r.name, last)
			continue
		}
		_, after, _ := strings.Cut(bye, `"after_ms":`)
		var ms int64
		if err := json.NewDecoder(strings.NewReader(after)).Decode(&ms); err != nil || ms < 0 || ms > 7000 {
			t.Errorf("%s: after_ms is not within the spread: %q", r.name, last)
		}
	}
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if strings.Contains(s.err.String(), "cut off") {
		t.Errorf("readers were cut off:\n%s", s.err)
	}
}

// TestServeDrainsPastFrozenReaders: readers that take nothing do not hold the
// end up longer than --drain-timeout.
func TestServeDrainsPastFrozenReaders(t *testing.T) {
	goroutines(t)
	s := startServe(t, "--drain-timeout", "1s", "--max-batch-bytes", "16MiB")
	for _, accept := range []string{"text/event-stream", "application/x-ndjson"} {
		send(t, s.url, "GET /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nAccept: "+accept+"\r\n\r\n")
	}
	waitForReaders(t, s.url, 2)
	message := `{"room":"lobby","data":"` + strings.Repeat("x", 60_000) + `"}` + "\n"
	for range 2 { // more than socket buffers take
		r, err := http.NewRequest("POST", s.url+"/publish", strings.NewReader(strings.Repeat(message, 250)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-ndjson")
		r.Close = true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("publish: %d", resp.StatusCode)
		}
	}
	began := time.Now()
	if status := s.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestServeRefusesWhileItDrains: who asks on an open connection is told so.
func TestServeRefusesWhileItDrains(t *testing.T) {
	s := startServe(t, "--drain-timeout", "1m")
	// A request whose body is missing keeps the server from its end.
	held := send(t, s.url, "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if _, err := held.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	half := send(t, s.url, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
	if status, _ := request(t, "GET", s.url+"/readyz", ""); status != http.StatusOK {
		t.Errorf("readyz: %d before", status)
	}
	s.cancel()
	s.err.wait(t, "shutting down")
	if _, err := io.WriteString(half, "\r\n"); err != nil {
		t.Fatal(err)
	}
	if resp, err := http.ReadResponse(bufio.NewReader(half), nil); err == nil && resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d while it drains", resp.StatusCode)
	}
	if _, err := io.WriteString(held, "42"); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(held)
	if !strings.Contains(string(answer), "HTTP/1.1 201") && !strings.Contains(string(answer), "HTTP/1.1 503") {
		t.Errorf("the publish under way got %q", answer)
	}
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}
