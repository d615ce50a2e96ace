package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const testLimit = 300

// ours reads input in pieces of the given size with the incremental reader.
func ours(input []byte, piece int, deflate bool) (events []string) {
	f := frames{deflate: deflate}
	for len(input) > 0 {
		p := input[:min(piece, len(input))]
		input = input[len(p):]
		for len(p) > 0 {
			n, ev, err := f.next(p, testLimit)
			p = p[n:]
			switch {
			case errors.Is(err, errFrameLimit):
				return append(events, "limit")
			case err != nil:
				return append(events, "error")
			case ev.kind == opClose:
				code, err := closeCode(ev.payload)
				if err != nil {
					return append(events, "error")
				}
				return append(events, fmt.Sprint("close ", code))
			case ev.packed:
				text, err := inflate(ev.payload, testLimit)
				switch {
				case errors.Is(err, errFrameLimit):
					return append(events, "limit")
				case err != nil:
					return append(events, "error")
				}
				events = append(events, fmt.Sprintf("message %d %q", ev.kind, text))
			case ev.kind == opText, ev.kind == opBinary:
				events = append(events, fmt.Sprintf("message %d %q", ev.kind, ev.payload))
			case ev.kind != 0:
				events = append(events, fmt.Sprintf("control %d %q", ev.kind, ev.payload))
			}
		}
	}
	return append(events, "end")
}

// canned is a connection that reads the given bytes and swallows writes.
type canned struct {
	net.Conn
	r *bytes.Reader
}

func (c canned) Read(p []byte) (int, error)     { return c.r.Read(p) }
func (canned) Write(p []byte) (int, error)      { return len(p), nil }
func (canned) SetDeadline(time.Time) error      { return nil }
func (canned) SetReadDeadline(time.Time) error  { return nil }
func (canned) SetWriteDeadline(time.Time) error { return nil }
func (canned) Close() error                     { return nil }

// theirs reads input with gorilla's reader.
func theirs(t *testing.T, input []byte, deflate bool) (events []string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13",
		"Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(k, v)
	}
	if deflate {
		r.Header.Set("Sec-Websocket-Extensions", "permessage-deflate")
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, EnableCompression: deflate}
	ws, err := up.Upgrade(cannedWriter{httptest.NewRecorder(), canned{r: bytes.NewReader(input)}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(testLimit)
	note := func(kind int) func(string) error {
		return func(s string) error {
			events = append(events, fmt.Sprintf("control %d %q", kind, s))
			return nil
		}
	}
	ws.SetPingHandler(note(opPing))
	ws.SetPongHandler(note(opPong))
	ws.SetCloseHandler(func(int, string) error { return nil })
	for {
		kind, payload, err := readMessage(ws)
		var closed *websocket.CloseError
		switch {
		case err == nil:
			events = append(events, fmt.Sprintf("message %d %q", kind, payload))
			continue
		case errors.Is(err, websocket.ErrReadLimit):
			return append(events, "limit")
		case errors.As(err, &closed) && closed.Code == websocket.CloseAbnormalClosure,
			errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return append(events, "end")
		case errors.As(err, &closed):
			code := closed.Code
			if code == websocket.CloseNoStatusReceived {
				code = 0
			}
			return append(events, fmt.Sprint("close ", code))
		}
		return append(events, "error")
	}
}

// readMessage bounds what a compressed message says, as readOne does.
func readMessage(ws *websocket.Conn) (int, []byte, error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return kind, nil, err
	}
	payload, err := io.ReadAll(io.LimitReader(r, testLimit+1))
	if err == nil && len(payload) > testLimit {
		err = websocket.ErrReadLimit
	}
	return kind, payload, err
}

func masked(b0 byte, payload string) []byte {
	b := []byte{b0}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := []byte{1, 2, 3, 4}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return b
}

var frameCases = map[string][]byte{
	"text":                    masked(0x81, "hello"),
	"empty":                   masked(0x81, ""),
	"two":                     append(masked(0x81, "hello"), masked(0x82, "world")...),
	"fragments":               append(append(masked(0x01, "hel"), masked(0x89, "now")...), masked(0x80, "lo")...),
	"medium":                  masked(0x81, strings.Repeat("x", 200)),
	"over the limit":          masked(0x81, strings.Repeat("x", 301)),
	"over the limit in parts": append(masked(0x01, strings.Repeat("x", 200)), masked(0x80, strings.Repeat("x", 200))...),
	"64-bit length":           {0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'},
	"absurd length":           {0x81, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'},
	"close":                   masked(0x88, "\x03\xe8bye"),
	"close without code":      masked(0x88, ""),
	"close of one byte":       masked(0x88, "x"),
	"close with a bad code":   masked(0x88, "\x00\x01"),
	"close not UTF-8":         masked(0x88, "\x03\xe8\xff"),
	"no mask":                 {0x81, 0x01, 'x'},
	"reserved bit":            masked(0xc1, "x"),
	"unknown opcode":          masked(0x83, "x"),
	"long ping":               masked(0x89, strings.Repeat("x", 126)),
	"ping in parts":           masked(0x09, "x"),
	"continuation of nothing": masked(0x80, "x"),
	"text inside a message":   append(masked(0x01, "a"), masked(0x81, "b")...),
	"pong":                    masked(0x8a, "x"),
	"cut off":                 masked(0x81, "hello")[:7],
}

func TestFramesAgreeWithGorilla(t *testing.T) {
	for name, input := range frameCases {
		want := theirs(t, input, false)
		for _, piece := range []int{1, 2, 3, 7, 1 << 20} {
			if got := ours(input, piece, false); !agree(got, want) {
				t.Errorf("%s in pieces of %d: %q, gorilla says %q", name, piece, got, want)
			}
		}
	}
}

// agree compares two readings. Where an input is cut off inside a header that is
// wrong already, one reader may have seen the error and the other the end.
func agree(a, b []string) bool {
	n := len(a) - 1
	if len(b)-1 != n {
		return false
	}
	for i := range n {
		if a[i] != b[i] {
			return false
		}
	}
	bad := func(s string) bool { return s == "end" || s == "error" || s == "limit" }
	return a[n] == b[n] || (bad(a[n]) && bad(b[n]))
}

func FuzzFrames(f *testing.F) {
	for _, input := range frameCases {
		f.Add(input, 3)
	}
	f.Fuzz(func(t *testing.T, input []byte, piece int) {
		if piece < 1 || piece > 1<<16 {
			piece = 1
		}
		if got, want := ours(input, piece, false), theirs(t, input, false); !agree(got, want) {
			t.Errorf("%x in pieces of %d: %q, gorilla says %q", input, piece, got, want)
		}
	})
}

func BenchmarkFrames(b *testing.B) {
	input := masked(0x81, strings.Repeat("x", 128))
	var f frames
	b.ReportAllocs()
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if n, ev, err := f.next(input, 1<<20); n != len(input) || ev.kind != opText || err != nil {
			b.Fatal(n, ev, err)
		}
	}
}

// cannedWriter hands the canned connection to gorilla's handshake.
type cannedWriter struct {
	http.ResponseWriter
	conn net.Conn
}

func (w cannedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	// The input comes after the handshake, so the reader is empty.
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
