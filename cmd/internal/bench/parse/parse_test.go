package parse_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"testing"

	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

// record writes down what a parser hands out.
type record struct{ got []string }

func (r *record) Frame(op byte, p []byte) error {
	r.got = append(r.got, fmt.Sprintf("%d:%s", op, p))
	return nil
}

func (r *record) Line(p []byte) error {
	r.got = append(r.got, string(p))
	return nil
}

func (r *record) Event(name, id, data []byte) error {
	r.got = append(r.got, fmt.Sprintf("%q %q %q", name, id, data))
	return nil
}

func (r *record) Body(p []byte) error {
	r.got = append(r.got, string(p))
	return nil
}

// inPieces feeds p in pieces of random sizes, as a network would.
func inPieces(p []byte, seed uint64, feed func([]byte) error) error {
	random := rand.New(rand.NewPCG(seed, 1))
	for len(p) > 0 {
		n := 1 + random.IntN(min(len(p), 1+random.IntN(64)))
		piece := bytes.Clone(p[:n])
		if err := feed(piece); err != nil {
			return err
		}
		for i := range piece {
			piece[i] = '!' // nothing may hold on to it
		}
		p = p[n:]
	}
	return nil
}

func TestReadHead(t *testing.T) {
	tests := []struct {
		text string
		want string // "" for an error
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "200 12 chunked=false close=false"},
		{"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\nconnection: close\r\n\r\n", "200 -1 chunked=true close=true"},
		{"HTTP/1.0 404 Not Found\r\n\r\n", "404 -1 chunked=false close=true"},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", "200 -1 chunked=false close=false"},
		{"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x=\r\n\r\n", "101 -1 chunked=false close=false x="},
		{"HTTP/1.1 204\r\n\r\n", "204 -1 chunked=false close=false"},
		{"HTTP/2 200 OK\r\n\r\n", ""},
		{"HTTP/1.1 2x0 OK\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", ""},
		{"SSH-2.0-OpenSSH\r\n\r\n", ""},
		{strings.Repeat("x", 70_000), ""},
	}
	for _, tt := range tests {
		h, n, err := parse.ReadHead([]byte(tt.text))
		if tt.want == "" {
			if !errors.Is(err, parse.ErrHead) {
				t.Errorf("%.40q: %v, want ErrHead", tt.text, err)
			}
			continue
		}
		got := strings.TrimSpace(fmt.Sprintf("%d %d chunked=%v close=%v %s", h.Status, h.Length, h.Chunked, h.Close, h.Accept))
		if err != nil || got != tt.want || n != len(tt.text) {
			t.Errorf("%q: %s, %d bytes, %v; want %s", tt.text, got, n, err, tt.want)
		}
		for i := range len(tt.text) {
			if _, n, err := parse.ReadHead([]byte(tt.text[:i])); n != 0 || err != nil {
				t.Fatalf("%q: %d, %v; want an incomplete head", tt.text[:i], n, err)
			}
		}
	}
}

// What net/http reads as the head of an answer we read in the same way.
func FuzzReadHead(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nETag: \"x\"\r\n\r\nhello world!"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: abc\r\n\r\n\x81\x01x"))
	f.Add([]byte("HTTP/1.0 503 no\r\nConnection: Keep-Alive\r\n\r\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, n, err := parse.ReadHead(p)
		if err != nil || n == 0 {
			return
		}
		if n > len(p) || !bytes.HasSuffix(p[:n], []byte("\r\n\r\n")) {
			t.Fatalf("a head of %d bytes in %q", n, p)
		}
		r, err := http.ReadResponse(newReader(p[:n]), nil)
		if err != nil {
			return // it validates, we do not
		}
		if bytes.Count(p[:n], []byte("\n")) != bytes.Count(p[:n], []byte("\r\n")) {
			return // it takes a line feed alone for the end of a line, we do not
		}
		if r.StatusCode != h.Status {
			t.Fatalf("status %d, want %d, in %q", h.Status, r.StatusCode, p)
		}
		if got, want := string(h.ETag), r.Header["Etag"]; len(want) == 1 && got != want[0] {
			t.Fatalf("ETag %q, want %q", got, want)
		}
	})
}

func TestChunked(t *testing.T) {
	text := "5\r\nhello\r\n6;x=y\r\n world\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nnext"
	for seed := range uint64(50) {
		var c parse.Chunked
		var r record
		used := 0
		err := inPieces([]byte(text), seed, func(p []byte) error {
			n, err := c.Feed(p, &r)
			used += n
			return err
		})
		if got := strings.Join(r.got, ""); err != nil || got != "hello world0123456789" || !c.Done() || text[used:] != "next" {
			t.Fatalf("seed %d: %q, %v, done %v, behind it %q", seed, got, err, c.Done(), text[used:])
		}
	}
	for _, bad := range []string{"x\r\n", "\r\n", "5\nhello", "5\r\nhelloX", "-1\r\n", "fffffffffffffffffff\r\n", "5" + strings.Repeat(" ", 5000)} {
		var c parse.Chunked
		if _, err := c.Feed([]byte(bad), &record{}); !errors.Is(err, parse.ErrChunk) {
			t.Errorf("%.20q: %v, want ErrChunk", bad, err)
		}
	}
}

func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\n"), uint64(1))
	f.Add([]byte("5;a=b\r\nhello\r\n1\r\nx\r\n0\r\nT: v\r\n\r\nrest"), uint64(2))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		var c parse.Chunked
		var r record
		err := inPieces(p, seed, func(p []byte) error {
			_, err := c.Feed(p, &r)
			return err
		})
		want, wantErr := io.ReadAll(httputil.NewChunkedReader(newReader(p)))
		if wantErr == nil && err == nil && strings.Join(r.got, "") != string(want) {
			t.Fatalf("%q: got %q, want %q", p, r.got, want)
		}
	})
}

func TestLines(t *testing.T) {
	for seed := range uint64(20) {
		var l parse.Lines
		var r record
		err := inPieces([]byte("a\n\nbcd\nincomplete"), seed, func(p []byte) error { return l.Feed(p, &r) })
		if got := fmt.Sprintf("%q", r.got); err != nil || got != `["a" "" "bcd"]` {
			t.Fatal(got, err)
		}
	}
	var l parse.Lines
	if err := l.Feed(make([]byte, parse.Limit+1), &record{}); !errors.Is(err, parse.ErrTooLong) {
		t.Errorf("a line over the limit: %v", err)
	}
}

func TestEvents(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"data: x\n\n", []string{`"" "" "x"`}},
		{": comment\nretry: 2000\nevent: hello\nid: a=0\ndata: {}\n\n", []string{`"hello" "a=0" "{}"`}},
		{"data: one\r\ndata:two\r\n\r\ndata\n\n", []string{`"" "" "one\ntwo"`, `"" "" ""`}},
		{"data: a\rdata: b\rdata: c\r\rid: 7\n\n", []string{`"" "" "a\nb\nc"`, `"" "7" ""`}},
		{"\n\n: nothing\n\nevent: x\n\n", nil},
		{"id: a\x00b\ndata: x\n\n", []string{`"" "" "x"`}},
		{"data: incomplete\n", nil},
	}
	for _, tt := range tests {
		for seed := range uint64(20) {
			var e parse.Events
			var r record
			err := inPieces([]byte(tt.text), seed, func(p []byte) error { return e.Feed(p, &r) })
			if err != nil || strings.Join(r.got, "|") != strings.Join(tt.want, "|") {
				t.Fatalf("%q: %q, %v; want %q", tt.text, r.got, err, tt.want)
			}
		}
	}
}

// events is the HTML standard's algorithm, written for a whole stream.
func events(stream string) (got []string) {
	stream = strings.TrimSuffix(stream, "\r") // what follows it would decide
	stream = strings.ReplaceAll(stream, "\r\n", "\n")
	stream = strings.ReplaceAll(stream, "\r", "\n")
	lines := strings.Split(stream, "\n")
	var name, id, data string
	var has, hasID bool
	for _, line := range lines[:len(lines)-1] {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if has || hasID {
				got = append(got, fmt.Sprintf("%q %q %q", name, id, data))
			}
			name, id, data, has, hasID = "", "", "", false, false
		case field == "event":
			name = value
		case field == "id" && !strings.Contains(value, "\x00"):
			id, hasID = value, true
		case field == "data":
			if has {
				data += "\n"
			}
			data, has = data+value, true
		}
	}
	return got
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: x\n\n", "id: 1\r\ndata: a\r\ndata: b\r\n\r\n", "event: gap\rdata: {}\r\r", ": c\n\nid\n\ndata\n\n"} {
		f.Add([]byte(s), uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		var e parse.Events
		var r record
		if err := inPieces(p, seed, func(p []byte) error { return e.Feed(p, &r) }); err != nil {
			t.Fatal(err)
		}
		if want := events(string(p)); fmt.Sprint(r.got) != fmt.Sprint(want) {
			t.Fatalf("%q: got %q, want %q", p, r.got, want)
		}
	})
}

func TestEnvelope(t *testing.T) {
	var e parse.Envelope
	text := `{"type":"message","room":"lobby","offset":42,"epoch":"0mi8","id":"q7f2","time":17,"from":"a\"b","data":{"x":[1,"]}"]}}`
	if err := e.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %s %d %s %s %s", e.Type, e.Room, e.Offset, e.Epoch, e.ID, e.Data); got != `message lobby 42 0mi8 q7f2 {"x":[1,"]}"]}` {
		t.Error(got)
	}
	for _, bad := range []string{"", "x", "[]", "{", `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1}}`, `{"a":1 "b":2}`, `{"a":"\`, `{a:1}`} {
		if err := e.Parse([]byte(bad)); !errors.Is(err, parse.ErrEnvelope) {
			t.Errorf("%q: %v, want ErrEnvelope", bad, err)
		}
	}
}

func TestPoll(t *testing.T) {
	var got []string
	cursor, err := parse.Poll([]byte(`{"protocol":1,"messages":[{"a":1}, {"b":[2]}],"cursor":"x=0","time":1}`+"\n"), func(p []byte) error {
		got = append(got, string(p))
		return nil
	})
	if err != nil || string(cursor) != "x=0" || fmt.Sprint(got) != `[{"a":1} {"b":[2]}]` {
		t.Error(string(cursor), got, err)
	}
}

// What encoding/json reads as an object has the same members for us.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"type":"message","room":"lobby","offset":42,"data":{"text":"a\"}b"}}`))
	f.Add([]byte(` { "a" : [1, 2.5e-3, true, null, {"b":""}] , "c":"\\" } `))
	f.Fuzz(func(t *testing.T, p []byte) {
		got := map[string]string{}
		err := parse.Object(p, func(key, value []byte) error {
			if k, err := strconv.Unquote(`"` + string(key) + `"`); err == nil {
				got[k] = string(value)
			}
			return nil
		})
		var want map[string]json.RawMessage
		if json.Unmarshal(p, &want) != nil || want == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		for k, v := range want {
			if g, ok := got[k]; ok && g != string(v) {
				t.Fatalf("%q: member %q is %q, want %q", p, k, g, v)
			}
		}
	})
}
