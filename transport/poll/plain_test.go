package poll

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

var plainSeeds = []string{
	"GET /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /rooms/a/poll?cursor=a%3De.1.i.m&wait=20&n=2 HTTP/1.1\r\nHost: h\r\nOrigin: http://h\r\nAccept: */*\r\nCookie: a=b\r\nUser-Agent: x\r\n\r\n",
	"GET /rooms/a,b?cursor=a=e.1.i,b=0 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nX-Other: 1\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost: h\r\n\r\nGET /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost: h\r\n folded: 1\r\n\r\n", "GET /rooms/a HTTP/1.1\nHost: h\n\n", "GET /rooms/a HTTP/1.0\r\nHost: h\r\n\r\n",
	"GET /rooms/a%2f HTTP/1.1\r\nHost: h\r\n\r\n", "GET /rooms/a/sse HTTP/1.1\r\nHost: h\r\n\r\n", "GET /rooms/a/poll/ HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /rooms/a/pollx HTTP/1.1\r\nHost: h\r\n\r\n", "GET /rooms/poll HTTP/1.1\r\nHost: h\r\n\r\n", "GET /rooms/a?x#y HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost : h\r\n\r\n", "GET /rooms/a HTTP/1.1\r\n: h\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost: h\x00\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\nCookie: \xff\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\nCookie: a\rb\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\nLast-Event-ID: x\r\n\r\n",
	"GET /rooms/a HTTP/1.1\r\nHost: h\r\ncontent-length: 3\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET  /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /rooms/a HTTP/1.1\r\nHost: h\r\n", "",
}

// readHTTP is what net/http makes of a whole request without a body; nil for
// one that it refuses.
func readHTTP(request []byte) *http.Request {
	br := bufio.NewReader(bytes.NewReader(request))
	r, err := http.ReadRequest(br)
	if err != nil || br.Buffered() > 0 {
		return nil
	}
	return r
}

// FuzzParsePlain: of a request that is taken as plain, rooms, query and head say
// all there is: net/http refuses it where it refuses these alone, and else reads
// the same but for header lines that are ignored.
func FuzzParsePlain(f *testing.F) {
	for _, request := range plainSeeds {
		f.Add([]byte(request))
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		p, ok := parsePlain(request, make([]byte, 0, maxHead))
		if !ok {
			return
		}
		path := "/rooms/" + string(p.rooms)
		if p.head[0] == 'p' {
			path += "/poll"
		}
		lines := strings.ReplaceAll(string(p.head[1:]), "\n", "\r\n")
		whole, alone := readHTTP(request), readHTTP([]byte("GET "+path+"?"+string(p.query)+" HTTP/1.1\r\n"+lines+"\r\n"))
		if (whole == nil) != (alone == nil) {
			t.Fatalf("%q: refused: %v, without what is ignored: %v", request, whole == nil, alone == nil)
		}
		if whole == nil {
			return
		}
		for name := range whole.Header {
			if kindOf([]byte(name+":")) == lineIgnored {
				delete(whole.Header, name)
			}
		}
		read := func(r *http.Request) string {
			return fmt.Sprint(r.Method, r.URL.EscapedPath(), r.URL.Path, r.URL.RawQuery, r.Proto, r.Host, r.Header, r.Close, r.ContentLength, r.TransferEncoding, r.Trailer)
		}
		if a, b := read(whole), read(alone); a != b || whole.URL.Path != path || whole.URL.RawQuery != string(p.query) {
			t.Fatalf("%q: %s\n%s", request, a, b)
		}
		if len(whole.Header["Authorization"]) > 0 || len(whole.Header["Last-Event-Id"]) > 0 || whole.ContentLength > 0 || len(whole.TransferEncoding) > 0 {
			t.Fatalf("%q: %v", request, whole.Header)
		}
	})
}

func TestPlainTakes(t *testing.T) {
	for i, request := range plainSeeds {
		p, ok := parsePlain([]byte(request), make([]byte, 0, maxHead))
		if want := i < 3 || strings.Contains(request, "/rooms/poll "); ok != want {
			t.Errorf("%q: %v", request, ok)
		} else if ok && (len(p.rooms) == 0 || len(p.head) == 0) {
			t.Errorf("%q: %+v", request, p)
		}
	}
	long := "GET /rooms/a HTTP/1.1\r\nHost: h\r\n%s: " + strings.Repeat("x", maxHead) + "\r\n\r\n"
	if _, ok := parsePlain(fmt.Appendf(nil, long, "X-Other"), make([]byte, 0, maxHead)); ok {
		t.Error("a head without an end is taken")
	}
	if _, ok := parsePlain(fmt.Appendf(nil, long, "Cookie"), make([]byte, 0, maxHead)); !ok {
		t.Error("a long cookie is not taken")
	}
}

// What net/http's server refuses, or others may read in another way, is not read
// here, also where no form of plain is asked for.
func TestParseLeaves(t *testing.T) {
	nc, other := net.Pipe()
	defer nc.Close()
	defer other.Close()
	c := &parked{back: &listener{server: new(http.Server)}}
	c.Init(nc, func() {})
	const line = "GET /rooms/a?wait=0 HTTP/1.1\r\n"
	for _, request := range []string{
		line + "Host: h\r\n\r\n", line + "X-Own_1: \xe9\r\nHost: h\r\nContent-Lengths: 1\r\n\r\n",
	} {
		if c.parse([]byte(request)) == nil {
			t.Errorf("%q is not read", request)
		}
	}
	for _, request := range []string{
		line + "Host: h\r\nContent-Length : 1\r\n\r\n", line + "Host: h\r\nTransfer-Encoding\t: chunked\r\n\r\n", line + "Host: h\r\nX(: 1\r\n\r\n",
		"GET /rooms/a?wait=0 HTTP/2.0\r\nHost: h\r\n\r\n", "GET /rooms/a?wait=0 HTTP/1.0\r\nHost: h\r\n\r\n",
		line + "Host: h\r\nConnection: x, Close\r\n\r\n", line + "Host: h\r\nConnection: x close\r\n\r\n",
		// Two requests, of which the second one would be lost.
		"GET /rooms/a?wait=0 HTTP/1.1\nHost: h\n\n" + line + "Host: h\r\n\r\n", line + "Host: h\n\nGET /rooms/b HTTP/1.1\r\nX: y\r\n\r\n",
		line + "Host: h\r\nX: y\nContent-Length: 1\r\n\r\n", line + "Host: h\r\nX: y\nUpgrade: websocket\r\n\r\n", line + "Host: h\r\nX: y\r\n\n\r\n\r\n",
		line + "Host: h\r\nX: y\nSec-WebSocket-Key: 1\r\n\r\n", line + "Host: h\r\nX: y\rz\r\n\r\n",
	} {
		if c.parse([]byte(request)) != nil {
			t.Errorf("%q is read", request)
		}
	}
}

// Whoever sends ever new heads fills a table of a bounded size.
func TestHeadsAreBounded(t *testing.T) {
	var h heads
	for i := range 10 * maxHeads {
		key := fmt.Sprint(i)
		lines := []byte("Vary: Origin\r\n")
		h.remember(key, head{lines: lines})
		lines[0] = 'x' // the caller's
		if known, ok := h.find([]byte(key)); !ok || string(known.lines) != "Vary: Origin\r\n" || len(h.known) > maxHeads {
			t.Fatalf("%d: %q %v, %d are known", i, known.lines, ok, len(h.known))
		}
	}
	again := h.remember("x", head{lines: []byte("a")})
	if other := h.remember("x", head{lines: []byte("b")}); string(other.lines) != "b" || string(again.lines) != "a" {
		t.Error("a head whose answer has changed keeps the old one")
	}
}

func BenchmarkParsePlain(b *testing.B) {
	request := []byte(plainSeeds[1])
	var buf [maxHead]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parsePlain(request, buf[:0]); !ok {
			b.Fatal()
		}
	}
}
