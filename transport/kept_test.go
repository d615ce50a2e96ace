package transport

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// streams are bytes that a client may send, in ways that one reader of HTTP
// takes for something else than another does.
var streams = func() (all []string) {
	const get, post = "GET /rooms/a?wait=0 HTTP/1.1\r\nHost: h\r\n", "POST /rooms/a HTTP/1.1\r\nHost: h\r\n"
	const next = "GET /rooms/b/history HTTP/1.1\r\nHost: h\r\n\r\n"
	for _, lines := range []string{
		"", "Content-Length: 0\r\n", "Content-Length: 1\r\n", "Content-Length: 1\r\nContent-Length: 1\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n", "Content-Length: 1, 1\r\n",
		"Content-Length: +1\r\n", "Content-Length: 01\r\n", "Content-Length: 0x1\r\n", "Content-Length: -1\r\n", "Content-Length: 1 \r\n", "Content-Length:1\r\n", "Content-Length:\t1\r\n",
		"Content-Length : 1\r\n", " Content-Length: 1\r\n", "Content_Length: 1\r\nContent-Length: 2\r\n", "Content-Length:\r\n 1\r\n", "Content-Length: 1\r\n 2\r\n", "Content-Length: 18446744073709551617\r\n",
		"Content-Length: 1\n", "A: b\rContent-Length: 1\r\n", "A: b\nContent-Length: 1\r\n", "\nContent-Length: 1\r\n", "A: b\x00\r\nContent-Length: 1\r\n", "A: \x7f\r\nContent-Length: 1\r\n", "A: \xff\r\nContent-Length: 1\r\n",
		"Transfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\nContent-Length: 1\r\n",
		"Transfer-Encoding: xchunked\r\nContent-Length: 1\r\n", "Transfer-Encoding : chunked\r\nContent-Length: 1\r\n", "Transfer-Encoding:\tchunked\r\nContent-Length: 1\r\n", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 1\r\n",
		"Transfer-Encoding: chunked\nContent-Length: 1\r\n", "X: y\nTransfer-Encoding: chunked\n", "Transfer_Encoding: chunked\r\nContent-Length: 1\r\n", "TE: trailers\r\nTrailer: A\r\nContent-Length: 1\r\n",
		"Connection: close\r\nContent-Length: 1\r\n", "Connection:close\r\nContent-Length: 1\r\n", "Connection: x, Close\r\nContent-Length: 1\r\n", "X: y\nConnection: close\r\nContent-Length: 1\r\n",
		"Connection: keep-alive\r\nContent-Length: 1\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nContent-Length: 1\r\n", "X: y\nUpgrade: websocket\r\nContent-Length: 1\r\n",
		"Expect: 100-continue\r\nContent-Length: 1\r\n", "Expect: something\r\nContent-Length: 1\r\n", "X: y\nExpect: 100-continue\r\nContent-Length: 1\r\n",
		"Host: g\r\nContent-Length: 1\r\n", "X: y\nHost: g\r\nContent-Length: 1\r\n", "Origin: https://evil.example\r\nContent-Length: 1\r\n", "Origin: https://app.example\r\nContent-Length: 1\r\n",
		"X: y\nOrigin: https://evil.example\r\nContent-Length: 1\r\n", "Origin: https://app.example\r\nOrigin: https://evil.example\r\nContent-Length: 1\r\n", "origin:https://evil.example\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 1\r\n",
		"X: y\nAccept: text/event-stream\r\n", "Accept: text/event-stream\r\n", "X: y\nSec-WebSocket-Key: k\r\n", "No colon\r\nContent-Length: 1\r\n", ": none\r\nContent-Length: 1\r\n", "X\x01: y\r\nContent-Length: 1\r\n",
		"Cookie: " + strings.Repeat("c", 5000) + "\r\nContent-Length: 1\r\n", "X: " + strings.Repeat("c", 600) + "\r\nContent-Length: 1\r\n", strings.Repeat("X: c\r\n", 300) + "Content-Length: 1\r\n",
	} {
		for _, body := range []string{"", "1", "1\r\n", "1\r\n1\r\n0\r\n\r\n"} {
			all = append(all, get+lines+"\r\n"+body, post+lines+"\r\n"+body, post+lines+"\r\n"+body+next)
		}
	}
	for _, line := range []string{
		"GET /rooms/a?wait=0 HTTP/1.0", "GET /rooms/a?wait=0 HTTP/1.2", "GET /rooms/a?wait=0 HTTP/2.0", "GET /rooms/a?wait=0 HTTP/0.9", "GET /rooms/a?wait=0 HTTP/1.1 ", "GET /rooms/a?wait=0 http/1.1", "GET  /rooms/a?wait=0 HTTP/1.1",
		"GET /rooms/a?wait=0\tHTTP/1.1", "GET /rooms/a?wait=0", "GET http://h/rooms/a?wait=0 HTTP/1.1", "GET http://g/rooms/a?wait=0 HTTP/1.1", "GET //rooms/a?wait=0 HTTP/1.1", "GET /rooms/../rooms/a?wait=0 HTTP/1.1",
		"GET /rooms/a%2fpoll?wait=0 HTTP/1.1", "GET /rooms/a%0d%0ab?wait=0 HTTP/1.1", "GET /rooms/a?wait=0#x HTTP/1.1", "GET /rooms/a?wait=0&x=\xff HTTP/1.1", "GET /rooms/a?wait=0&x=%zz HTTP/1.1", "GET /rooms/a?wait=0;x HTTP/1.1", "get /rooms/a?wait=0 HTTP/1.1",
		"HEAD /rooms/a?wait=0 HTTP/1.1", "HEAD /rooms/a/history HTTP/1.1", "PUT /rooms/a HTTP/1.1", "OPTIONS * HTTP/1.1", "CONNECT h:80 HTTP/1.1", "TRACE /rooms/a HTTP/1.1", "PRI * HTTP/2.0",
		"POST /rooms/a HTTP/1.0", "POST /rooms/a HTTP/2.0", "POST http://h/rooms/a HTTP/1.1", "POST /rooms/a#x HTTP/1.1", "POST /rooms/a? HTTP/1.1", "POST /rooms/a?key=%0d%0aX:y HTTP/1.1", "POST /publish HTTP/1.1", "POST /rooms/a/poll?wait=0 HTTP/1.1",
	} {
		for _, end := range []string{"\r\n", "\n"} {
			all = append(all, line+end+"Host: h"+end+end, line+end+"Host: h"+end+"Content-Length: 1"+end+end+"1", line+end+"Host: h"+end+end+next, line+end+"Host: h"+end+"Content-Length: 44"+end+end+next)
		}
	}
	whole := post + "Content-Length: 1\r\n\r\n1"
	for _, between := range []string{"\r\n", "\n", "\r", "\r\n\r\n", "\r\n\r\n\r\n", " ", "\x00", "1", "\n\n", "\r\r\r\r\r"} {
		all = append(all, between+whole, whole+between, whole+between+whole, whole+between+next, get+"\r\n"+between, get+"\r\n"+between+whole, between+next, next+between+next, whole+between+next+between+whole)
	}
	return append(all,
		whole+whole+whole, whole+get+"\r\n"+whole, get+"\r\n"+get+"\r\n", next+whole+next,
		// The first of two requests ends where only some see an end.
		"GET /rooms/a?wait=0 HTTP/1.1\nHost: h\n\n"+get+"\r\n", "GET /rooms/a?wait=0 HTTP/1.1\r\nHost: h\r\n\n"+get+"\r\n", "GET /rooms/a?wait=0 HTTP/1.1\nHost: h\n\nGET /rooms/a?wait=0 HTTP/1.1\nHost: h\n\n",
		"GET /rooms/a?wait=0 HTTP/1.1\r\nHost: h\nA: b\n\n"+get+"\r\n",
		post+"Content-Length: 20000\r\n\r\n"+strings.Repeat("1", 20000)+next, post+"Content-Length: 17\r\n\r\n"+strings.Repeat("1", 17), post+"Content-Length: 70000\r\n\r\n"+strings.Repeat("1", 70000)+next,
		"POST /rooms/a?n="+strings.Repeat("1", 17000)+" HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
	)
}()

// pair is two servers of which one serves every connection by net/http alone,
// and the other keeps connections for itself where it can.
type pair struct{ plain, taking *site }

// kinds are the ways in which a connection comes to be kept.
var kinds = []string{"publishes", "polls"}

// dial makes a connection to each of the two, and has the second one keep its
// own. Both have served the same then.
func (s pair) dial(t *testing.T, kind string) (ordinary, taken *publisher) {
	ordinary, taken = s.plain.dial(), s.taking.dial()
	if kind == "publishes" {
		ordinary.publishes(4)
		taken.publishes(4)
	} else {
		const poll = "GET /rooms/park?from=start&wait="
		ordinary.ask(poll + "0 HTTP/1.1\r\nHost: h\r\n\r\n")
		taken.send(poll + "20 HTTP/1.1\r\nHost: h\r\n\r\n")
		s.taking.await(1)
		if r := s.taking.hub.Publish(t.Context(), []hub.Publish{{Room: "park", Data: []byte("1"), Ephemeral: true}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if answer, err := taken.raw(); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200") {
			t.Fatal(answer, err)
		}
	}
	s.taking.await(1)
	return ordinary, taken
}

// all sends text in pieces, and then a request that ends the connection where
// it is seen as one, and returns everything that comes back.
func (p *publisher) all(pieces []string, patience time.Duration) string {
	var b bytes.Buffer
	done := make(chan struct{})
	go func() {
		io.Copy(&b, p.Reader)
		close(done)
	}()
	for i, piece := range pieces {
		if i > 0 {
			time.Sleep(100 * time.Microsecond)
		}
		p.send(piece)
	}
	select {
	case <-done:
	case <-time.After(patience):
		p.send("GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		select {
		case <-done:
		case <-time.After(15 * patience): // it was taken for a part of something
			p.Conn.(*net.TCPConn).CloseWrite()
			<-done
		}
	}
	p.Conn.Close()
	return b.String()
}

// answersIn lists the answers in what came back, with the lines of their heads
// in one order. Where there may be answers to HEAD, which have no body, nobody
// knows where one ends; then it is all lines.
func answersIn(text string, heads bool) (all []string) {
	if heads {
		all = strings.Split(steady(text), "\r\n")
		slices.Sort(all)
		return all
	}
	r := bufio.NewReader(strings.NewReader(text))
	for {
		if _, err := r.Peek(1); err != nil {
			return all
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return append(all, err.Error())
		}
		if res.Header.Get("Date") != "" {
			res.Header.Set("Date", "~")
		}
		body, err := io.ReadAll(res.Body)
		all = append(all, fmt.Sprint(res.Proto, " ", res.Status, res.Header, res.Close, res.ContentLength, res.TransferEncoding, steady(string(body)), err))
	}
}

// compare has the same sent to both. On a busy machine one of them may not have
// come to the first request when the client gives up: what differs is asked again,
// with more patience.
func (s pair) compare(t *testing.T, kind string, pieces []string) {
	t.Helper()
	heads := strings.Contains(strings.Join(pieces, ""), "HEAD")
	for patience := 10 * time.Millisecond; ; patience *= 5 {
		ordinary, taken := s.dial(t, kind)
		kept := make(chan string)
		go func() { kept <- taken.all(pieces, patience) }()
		want := answersIn(ordinary.all(pieces, patience), heads)
		got := answersIn(<-kept, heads)
		s.taking.await(0)
		switch {
		case slices.Equal(got, want):
			return
		case patience > 200*time.Millisecond:
			t.Errorf("kept by %s, %q:\n%s\nwant\n%s", kind, pieces, strings.Join(got, "\n"), strings.Join(want, "\n"))
			return
		}
	}
}

// cut cuts text into at most n pieces.
func cut(r *rand.Rand, text string, n int) (pieces []string) {
	for ; n > 1 && len(text) > 1; n-- {
		at := 1 + r.IntN(len(text)-1)
		pieces, text = append(pieces, text[:at]), text[at:]
	}
	return append(pieces, text)
}

// manyPairs runs f for each of n cases, on servers that are used for one case at
// a time: nearly all of a case is waiting.
func manyPairs(t *testing.T, n int, f func(s pair, i int)) {
	const pairs = 24
	var wg sync.WaitGroup
	var next atomic.Int64
	for range pairs {
		s := pair{newSite(t, siteSetup{alone: true}), newSite(t, siteSetup{takes: true})}
		wg.Go(func() {
			for !t.Failed() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(s, i)
			}
		})
	}
	wg.Wait()
}

// Whatever bytes come on a connection that is kept, in whatever pieces, they get
// the answers that net/http's server has for them on one that it has itself:
// nobody can have a part of a request taken for one, or one for a part.
func TestKeptAlike(t *testing.T) {
	manyPairs(t, len(streams), func(s pair, i int) {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for n, kind := range kinds {
			s.compare(t, kind, []string{streams[i]})
			s.compare(t, kind, cut(r, streams[i], 2+(i+n)%6))
		}
	})
}

// The same for what nobody has thought of; CULVERT_CASES says of how much.
func TestKeptAlikeAtRandom(t *testing.T) {
	n := 300
	if more, err := strconv.Atoi(os.Getenv("CULVERT_CASES")); err == nil {
		n = more
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	manyPairs(t, n, func(s pair, i int) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		var text string
		for range 1 + r.IntN(3) {
			text += streams[r.IntN(len(streams))]
			if len(text) > 4000 {
				break
			}
		}
		for range r.IntN(4) {
			at := r.IntN(len(text) + 1)
			if r.IntN(2) == 0 {
				text = text[:at] + splices[r.IntN(len(splices))] + text[at:]
			} else {
				text = text[:at] + text[min(at+1+r.IntN(4), len(text)):]
			}
		}
		if mayWait(text) {
			return
		}
		s.compare(t, kinds[r.IntN(len(kinds))], cut(r, text, 1+r.IntN(6)))
	})
}

// mayWait reports whether there may be a poll in text that waits: what comes
// behind it is not answered on a connection that is kept.
func mayWait(text string) bool {
	for _, line := range gets.FindAllString(text, -1) {
		if !strings.Contains(line, "/a?wait=0 ") && !strings.Contains(line, "/a/history ") && !strings.Contains(line, "/b/history ") && !strings.Contains(line, "/poll?wait=0 ") {
			return true
		}
	}
	return false
}

var gets = regexp.MustCompile("(GET|/poll)[^\r\n]*")

// splices are what a few bytes can make another request of.
var splices = []string{"\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", ":", "0", "1", ",", "\x00", "\x7f", "\xc3\xa9", "a", "?", "&", "=", "%", "/", ";", "#",
	"Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", " close", "Host: h\r\n", "HTTP/1.1", "X: y\r\n", "\r\n ", "Origin: https://app.example\r\n"}
