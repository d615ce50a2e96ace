package transport_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/servertest"
)

var changing = regexp.MustCompile(`"time":\d+|"retry_after_ms":\d+`)

// A request on a connection that was taken over is answered as on a new one,
// however often it comes.
func TestAnswersAlike(t *testing.T) {
	server := servertest.Start(t, servertest.Options{Polled: true, Engine: transport.Options{AllowOrigins: []string{"https://app.example"}}})
	h := server.Hub
	publish := func(room, data string) string {
		r := h.Publish(t.Context(), []hub.Publish{{Room: room, Data: []byte(data)}})[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return hub.Cursor{{Room: room, Position: r.Position}}.String()
	}
	first := publish("a", "1")
	publish("a", "2")

	type connection struct {
		net.Conn
		*bufio.Reader
	}
	dial := func() connection {
		nc, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(30 * time.Second))
		return connection{nc, bufio.NewReader(nc)}
	}
	ask := func(c connection, request string) string {
		t.Helper()
		io.WriteString(c, request)
		res, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatalf("%q: %v", request, err)
		}
		if res.Header.Get("Date") == "" || res.ContentLength != int64(len(body)) {
			t.Errorf("%q: %v", request, res.Header)
		}
		res.Header.Del("Date")
		return fmt.Sprint(res.Proto, res.Status, res.Header, changing.ReplaceAllString(string(body), ""))
	}
	parked := func() connection {
		c := dial()
		io.WriteString(c, "GET /rooms/park?wait=20 HTTP/1.1\r\nHost: h\r\n\r\n")
		for h.Stats().Subscribers["poll"] == 0 {
			time.Sleep(time.Millisecond)
		}
		publish("park", "0")
		ask(c, "")
		return c
	}

	paths := []string{"/rooms/a", "/rooms/a/poll", "/rooms/a,b/poll", "/rooms/a/", "/rooms/a%2c", "/rooms/.", "/rooms/a,,b", "/rooms/a/sse/x", "/rooms/a/history", "/rooms/poll", "/rooms/new"}
	queries := []string{"", "&cursor=" + first, "&cursor=" + strings.ReplaceAll(first, "=", "%3D") + "&n=7", "&cursor=b=0", "&from=start", "&last=1&format=bare", "&cursor=a=e.1.i",
		"&cursor=nonsense", "&limit=0", "&other=1", "&client=x", "&client=%00", "&format=odd", "&presence=maybe", "&cursor=%zz"}
	headers := []string{"", "Accept: */*\r\n", "Accept: application/json\r\nCookie: a=b\r\n", "Origin: https://app.example\r\n", "Origin: https://evil.example\r\n", "Origin: http://h\r\n",
		"Origin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n", "Last-Event-ID: " + first + "\r\n", "If-None-Match: *\r\n", "Connection: keep-alive\r\n"}
	var c connection
	compare := func(path, query, header string) {
		t.Helper()
		if server.Engine.Parked() == 0 { // at first, and where the HTTP server has it back
			c = parked()
		}
		request := "GET " + path + "?wait=0" + query + " HTTP/1.1\r\nHost: h\r\n" + header + "\r\n"
		want := ask(dial(), request)
		for again := range 3 {
			if got := ask(c, request); got != want {
				t.Errorf("%q, time %d:\n%s\nwant %s", request, again, got, want)
			}
		}
	}
	for _, path := range paths {
		for _, query := range queries {
			compare(path, query, "")
		}
	}
	for _, path := range paths[:3] {
		for _, header := range headers {
			for _, query := range queries[:2] {
				compare(path, query, header)
			}
		}
	}
}
