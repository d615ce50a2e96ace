package parse_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

func newReader(p []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(p)) }

// canned is a server whose every byte is known: it answers the handshake and
// then sends what it was made with.
type canned struct {
	net.Conn // nil: nothing else is called
	request  bytes.Buffer
	answer   io.Reader
	frames   []byte
}

func (c *canned) Write(p []byte) (int, error) {
	if c.answer == nil {
		c.request.Write(p)
	}
	return len(p), nil
}

func (c *canned) Read(p []byte) (int, error) {
	if c.answer == nil {
		r, err := http.ReadRequest(bufio.NewReader(&c.request))
		if err != nil {
			return 0, err
		}
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		head := "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: " +
			base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"
		c.answer = io.MultiReader(strings.NewReader(head), bytes.NewReader(c.frames))
	}
	return c.answer.Read(p)
}

func (c *canned) Close() error                     { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// oracle reads frames with gorilla's client, and tells whether it found
// anything wrong with them.
func oracle(t *testing.T, frames []byte) (got []string, bad bool) {
	t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return &canned{frames: frames}, nil }}
	c, _, err := dialer.Dial("ws://server.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetPingHandler(func(s string) error { got = append(got, "9:"+s); return nil })
	c.SetPongHandler(func(s string) error { got = append(got, "10:"+s); return nil })
	c.SetCloseHandler(func(int, string) error { got = append(got, "8:"); return nil })
	for {
		op, p, err := c.ReadMessage()
		if err != nil {
			var closed *websocket.CloseError
			return got, !errors.As(err, &closed) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
		}
		got = append(got, fmt.Sprintf("%d:%s", op, p))
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x89\x00\x8a\x01x\x82\x02ab\x88\x02\x03\xe8"), uint64(1))
	f.Add([]byte("\x01\x03hel\x89\x02hi\x80\x02lo\x81\x00"), uint64(2))
	f.Add([]byte("\x81\x7e\x00\x80"+strings.Repeat("x", 128)+"\x81\x01y"), uint64(3))
	f.Add([]byte("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x02ok"), uint64(4))
	f.Add([]byte("\x80\x01x"), uint64(5))
	f.Add([]byte("\x81\x85maskhello"), uint64(6))
	f.Add([]byte("\xc1\x01x"), uint64(7))
	f.Add([]byte("\x09\x00\x83\x00\x8b\x00"), uint64(8))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		var frames parse.Frames
		var r record
		err := inPieces(p, seed, func(p []byte) error { return frames.Feed(p, &r) })
		if errors.Is(err, parse.ErrTooLong) {
			return // gorilla would wait for it
		}
		for i, frame := range r.got {
			if strings.HasPrefix(frame, "8:") {
				r.got[i] = "8:" // gorilla hands out code and text
			}
		}
		want, bad := oracle(t, p)
		if bad {
			// It also judges text, close codes and the order of header bytes;
			// what it had read before the fault is what we have read, at least.
			if len(r.got) < len(want) || fmt.Sprint(r.got[:len(want)]) != fmt.Sprint(want) {
				t.Fatalf("%x: got %q, want at least %q", p, r.got, want)
			}
			return
		}
		if err != nil || fmt.Sprint(r.got) != fmt.Sprint(want) {
			t.Fatalf("%x: got %q, %v; want %q", p, r.got, err, want)
		}
	})
}

func TestFrameLimit(t *testing.T) {
	for _, p := range []string{
		"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
		"\x01\x01x\x80\x7f\x00\x00\x00\x00\x00\x40\x00\x00",
	} {
		var frames parse.Frames
		if err := frames.Feed([]byte(p), &record{}); !errors.Is(err, parse.ErrTooLong) {
			t.Errorf("%x: %v, want ErrTooLong", p, err)
		}
	}
}

// packed is a message as permessage-deflate sends it.
func packed(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, text)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// A short frame of a server, without a mask.
func frame(first byte, payload string) string {
	return string([]byte{first, byte(len(payload))}) + payload
}

func TestDeflatedFrames(t *testing.T) {
	long := strings.Repeat("ab", 5000)
	p := packed(t, long)
	for name, tt := range map[string]struct {
		frames string
		want   []string
		err    error
	}{
		"one frame":             {frame(0xc1, p), []string{"1:" + long}, nil},
		"plain between":         {frame(0xc1, p) + frame(0x81, "x") + frame(0xc2, packed(t, "y")), []string{"1:" + long, "1:x", "2:y"}, nil},
		"fragments":             {frame(0x41, p[:3]) + frame(0x89, "") + frame(0x80, p[3:]), []string{"9:", "1:" + long}, nil},
		"plain after fragments": {frame(0x41, p[:3]) + frame(0x80, p[3:]) + frame(0x01, "a") + frame(0x80, "b"), []string{"1:" + long, "1:ab"}, nil},
		"empty":                 {frame(0xc1, "\x00"), []string{"1:"}, nil},
		"a packed continuation": {frame(0x41, p[:3]) + frame(0xc0, p[3:]), nil, parse.ErrFrame},
		"a packed ping":         {frame(0xc9, p), nil, parse.ErrFrame},
		"nonsense":              {frame(0xc1, "\xff\xff\xff"), nil, parse.ErrFrame},
	} {
		var r record
		frames := parse.Frames{Inflater: new(parse.Inflater)}
		err := inPieces([]byte(tt.frames), 1, func(p []byte) error { return frames.Feed(p, &r) })
		if !errors.Is(err, tt.err) || tt.err == nil && fmt.Sprint(r.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s: %.100q, %v; want %.100q, %v", name, r.got, err, tt.want, tt.err)
		}
	}
}

// What a small message unpacks to is bounded like what arrives.
func TestInflatedLimit(t *testing.T) {
	p := packed(t, strings.Repeat("\x00", parse.Limit+1))
	message := append([]byte{0xc1, 126, byte(len(p) >> 8), byte(len(p))}, p...)
	frames := parse.Frames{Inflater: new(parse.Inflater)}
	if err := frames.Feed(message, &record{}); !errors.Is(err, parse.ErrTooLong) {
		t.Errorf("%v, want ErrTooLong", err)
	}
}

// A server understands the frames that the bench sends.
func TestAppendFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 200_000} {
		payload := strings.Repeat("x", n)
		frame := parse.AppendFrame(nil, parse.OpText, []byte(payload))
		server, client := net.Pipe()
		got := make(chan string, 1)
		go func() {
			defer close(got)
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" +
				"Connection: upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")))
			if err != nil {
				return
			}
			c, err := (&websocket.Upgrader{}).Upgrade(hijack{server}, r, nil)
			if err != nil {
				return
			}
			_, p, _ := c.ReadMessage()
			got <- string(p)
		}()
		head := bufio.NewReader(client)
		if _, err := http.ReadResponse(head, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write(frame); err != nil {
			t.Fatal(err)
		}
		if p := <-got; p != payload {
			t.Errorf("%d bytes arrive as %d", n, len(p))
		}
		client.Close()
		server.Close()
	}
}

type hijack struct{ conn net.Conn }

func (h hijack) Header() http.Header         { return http.Header{} }
func (h hijack) WriteHeader(int)             {}
func (h hijack) Write(p []byte) (int, error) { return len(p), nil }
func (h hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}
