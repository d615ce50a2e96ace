package poll

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// The first of them are taken.
var postSeeds = []string{
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n\"\"",
	"POST /rooms/a?key=k%20&ephemeral=1&n=3 HTTP/1.1\r\nHost: h:80\r\nContent-Type: application/json\r\nOrigin: http://h\r\nCookie: a=b\r\nContent-Length:\t3 \r\n\r\n123",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nidempotency-key:  a b \r\nContent-Length: 1\r\nX-Other: 1\r\n\r\n1POST /rooms/a HTTP/1.1\r\n",
	"POST /rooms/sse HTTP/1.1\r\nIdempotency-Key:\r\nHost: h\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", "POST /rooms/a HTTP/1.1\r\nHost: h\r\n\r\n1", "POST /rooms/a,b HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 01\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 184467440737095516171\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nAuthorization: x\r\nContent-Length: 1\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\nContent-Length: 1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\nHost: h\nContent-Length: 1\n\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\n\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nA: b\rContent-Length: 1\r\n\r\n1",
	"POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n 2\r\n\r\n1", "POST /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length : 1\r\n\r\n1", "POST /rooms/a HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
	"POST /rooms/a/ HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "POST /rooms/a/sse HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "POST /rooms/a?token=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
	"POST /rooms/a?k%65y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "POST /publish HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "PUT /rooms/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "x",
}

const postTaken = 4 // of postSeeds

// FuzzParsePost: what is taken for a whole publish is one for net/http as well,
// with the same room, parameters, key, body and end, and head says all else that
// there is but for lines that are ignored. Every part of it is taken for a part.
func FuzzParsePost(f *testing.F) {
	for _, request := range postSeeds {
		f.Add([]byte(request), uint16(len(request)/2))
	}
	f.Fuzz(func(t *testing.T, request []byte, cut uint16) {
		p, found := parsePost(request, make([]byte, 0, maxHead))
		part := request[:min(int(cut), len(request))]
		switch _, begun := parsePost(part, make([]byte, 0, maxHead)); {
		case found == postWhole && len(part) >= p.size && begun != postWhole,
			found == postWhole && len(part) < p.size && begun != postBegun && begun != postHead,
			(found == postBegun || found == postHead) && begun != postBegun && begun != postHead:
			t.Fatalf("%q is %d, its part %q is %d", request, found, part, begun)
		}
		if (found == postBegun || found == postHead) && len(request) >= maxPost {
			t.Fatalf("%d bytes are not enough", len(request))
		}
		if found != postWhole {
			return
		}
		lines := strings.ReplaceAll(string(p.head[1:]), "\n", "\r\n")
		alone := fmt.Sprintf("POST /rooms/%s?%s HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s", p.room, p.query, lines, len(p.body), p.body)
		read := func(text []byte, whole bool) (*http.Request, string) {
			br := bufio.NewReader(bytes.NewReader(text))
			r, err := http.ReadRequest(br)
			if err != nil {
				return nil, ""
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			rest, _ := io.ReadAll(br)
			keys := r.Header["Idempotency-Key"]
			if whole && (len(keys) > 0 != p.keyed || p.keyed && (len(keys) != 1 || keys[0] != string(p.key)) || !bytes.Equal(rest, request[p.size:])) {
				t.Fatalf("%q: key %q, rest %q; %+v", text, keys, rest, p)
			}
			for name := range r.Header {
				if kindOf([]byte(name+":")) == lineIgnored || name == "Idempotency-Key" || name == "Content-Length" {
					delete(r.Header, name)
				}
			}
			return r, fmt.Sprint(r.Method, r.URL.EscapedPath(), r.URL.Path, r.URL.RawQuery, r.Proto, r.Host, r.Header, r.Close, r.ContentLength, r.TransferEncoding, r.Trailer, string(body))
		}
		whole, a := read(request, true)
		same, b := read([]byte(alone), false)
		if (whole == nil) != (same == nil) || a != b {
			t.Fatalf("%q:\n%s\nalone %s", request, a, b)
		}
		if whole != nil && (whole.URL.Path != "/rooms/"+string(p.room) || whole.URL.RawQuery != string(p.query) || len(whole.Header["Authorization"]) > 0 || len(whole.TransferEncoding) > 0) {
			t.Fatalf("%q: %s", request, a)
		}
	})
}

func TestPostTakes(t *testing.T) {
	for i, request := range postSeeds {
		_, found := parsePost([]byte(request), make([]byte, 0, maxHead))
		if (found == postWhole) != (i < postTaken) || i >= postTaken && found != postOther {
			t.Errorf("%q: %d", request, found)
		}
		if i >= postTaken {
			continue
		}
		p, _ := parsePost([]byte(request), make([]byte, 0, maxHead))
		for n := range p.size {
			want := postBegun
			if n >= p.size-len(p.body) {
				want = postHead
			}
			if _, found := parsePost([]byte(request[:n]), make([]byte, 0, maxHead)); found != want {
				t.Errorf("%q: %d, want %d", request[:n], found, want)
			}
		}
	}
}

// Whoever does not come to an end is somebody else's affair, at maxPost at the
// latest.
func TestPostIsBounded(t *testing.T) {
	const head = "POST /rooms/a HTTP/1.1\r\nHost: h\r\n"
	for _, endless := range []string{"POST /rooms/" + strings.Repeat("a", maxPost), "POST /rooms/a?" + strings.Repeat("a", maxPost), head + "X: " + strings.Repeat("a", maxPost),
		head + strings.Repeat("Cookie: a\r\n", maxPost/11+1), head + strings.Repeat("X: a\r\n", maxHead/5), fmt.Sprintf("%sContent-Length: %d\r\n\r\n", head, maxPost)} {
		if _, found := parsePost([]byte(endless), make([]byte, 0, maxHead)); found != postOther {
			t.Errorf("%.80q: %d", endless, found)
		}
	}
}

func BenchmarkParsePost(b *testing.B) {
	request := []byte(postSeeds[1])
	var buf [maxHead]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, found := parsePost(request, buf[:0]); found != postWhole {
			b.Fatal()
		}
	}
}
