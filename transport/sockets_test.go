package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/codes"
)

// raw sends bytes over a TCP connection and reads one answer.
func raw(t *testing.T, server *httptest.Server, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%v after %.80q", err, request)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// Requests as they come from real and from broken clients: what is wrong is
// said before the connection ends, and nothing is published.
func TestOddRequests(t *testing.T) {
	s := newService(t, Options{})
	server := httptest.NewUnstartedServer(s)
	server.Config.ReadTimeout = 300 * time.Millisecond
	server.Start()
	defer server.Close()
	head := "POST /rooms/a HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name, request string
		status        int
		code          codes.Code
	}{
		{"length over the limit, body not sent", head + "Content-Length: 70000\r\nExpect: 100-continue\r\n\r\n", 413, codes.MessageTooLarge},
		{"length far over the limit", head + "Content-Length: 99999999999\r\n\r\n", 413, codes.MessageTooLarge},
		{"chunks over the limit", head + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", 70_000, strings.Repeat("x", 70_000)), 413, codes.MessageTooLarge},
		{"half-sent body", head + "Content-Length: 10\r\n\r\n{\"a\"", 408, codes.RequestTimeout},
		{"half-sent chunk", head + "Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408, codes.RequestTimeout},
		{"broken chunk", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, codes.BadBody},
		{"no path", "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 404, codes.NotFound},
		{"a proxy's request", "CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 404, codes.NotFound},
		{"escaped slash", "GET /rooms/a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n", 404, codes.NotFound},
		{"escaped zero", "GET /rooms/a%00/poll HTTP/1.1\r\nHost: x\r\n\r\n", 400, codes.BadRoom},
		{"dots", "GET /rooms/../stats HTTP/1.1\r\nHost: x\r\n\r\n", 400, codes.BadRoom},
		{"two slashes", "GET //rooms//a HTTP/1.1\r\nHost: x\r\n\r\n", 404, codes.NotFound},
		{"half-sent reading body", "POST /rooms/a/poll HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nwait", 408, codes.RequestTimeout},
	}
	for _, tt := range tests {
		resp, body := raw(t, server, tt.request)
		if resp.StatusCode != tt.status || !strings.Contains(body, `"`+string(tt.code)+`"`) {
			t.Errorf("%s: %d %s, want %d %s", tt.name, resp.StatusCode, body, tt.status, tt.code)
		}
	}
	if st := s.hub.Stats(); st.Published != 0 {
		t.Errorf("%d messages were published", st.Published)
	}
	resp, body := raw(t, server, head+"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	if resp.StatusCode != 201 {
		t.Errorf("a chunked publish: %d %s", resp.StatusCode, body)
	}
}

// A publish whose client does not wait for the answer takes effect, and its
// key tells so afterwards.
func TestPublishOutlivesItsClient(t *testing.T) {
	s := newService(t, Options{})
	server := httptest.NewServer(s)
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "POST /rooms/a HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\n1")
	c.Close()
	// The poll waits until the message is there.
	if got := s.data(s.poll("/rooms/a?from=start&wait=20").Messages); got != "1" {
		t.Fatalf("got %s", got)
	}
	if a := s.decode(s.do("POST", "/rooms/a", "1", "Idempotency-Key", "k"), 200); !a.Duplicate {
		t.Errorf("%+v", a)
	}
}

// Every answer to a publish has its length, whoever counts it.
func TestPublishAnswersHaveALength(t *testing.T) {
	server := httptest.NewServer(newService(t, Options{}))
	defer server.Close()
	for n := range 40 {
		body := strings.Repeat("{\"room\":\"a\",\"data\":1}\n", n)
		path, status := "/publish", http.StatusOK
		if n == 0 {
			path, body, status = "/rooms/a", "1", http.StatusCreated
		}
		resp, answer := raw(t, server, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body))
		if resp.StatusCode != status || resp.ContentLength != int64(len(answer)) || len(resp.TransferEncoding) > 0 {
			t.Fatalf("%d messages: status %d, Content-Length %d of %d, %v", n, resp.StatusCode, resp.ContentLength, len(answer), resp.TransferEncoding)
		}
	}
}
