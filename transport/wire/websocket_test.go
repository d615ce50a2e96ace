package wire_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/culvertd/culvert/transport/wire"
)

// oracle reads frames as gorilla's client does.
func oracle(t testing.TB, frames []byte) *websocket.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	go func() {
		defer server.Close()
		buf := make([]byte, 4096)
		var request []byte
		for !bytes.Contains(request, []byte("\r\n\r\n")) {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			request = append(request, buf[:n]...)
		}
		req := string(request)
		_, key, _ := strings.Cut(req, "Sec-WebSocket-Key: ")
		key, _, _ = strings.Cut(key, "\r\n")
		io.WriteString(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: "+acceptKey(key)+"\r\n\r\n")
		server.Write(frames)
	}()
	d := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return client, nil }}
	c, _, err := d.Dial("ws://x/", http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func FuzzWSFrames(f *testing.F) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		f.Add(strings.Repeat("x", n), "ping", 1000, "bye")
	}
	f.Add("é", strings.Repeat("p", 200), 4001, strings.Repeat("é", 100))
	f.Add("", "", 0, "x")
	f.Fuzz(func(t *testing.T, text, pong string, code int, reason string) {
		if !utf8.ValidString(text) || !utf8.ValidString(reason) || code != 0 && code != 1000 && (code < 3000 || code > 4999) {
			return // Our own data is UTF-8, and our codes are the registry's.
		}
		frames := wire.AppendWSText(nil, []byte(text))
		frames = wire.AppendWSPing(frames)
		frames = wire.AppendWSPong(frames, pong)
		frames = wire.AppendWSClose(frames, code, reason)
		c := oracle(t, frames)
		var pings, pongs []string
		c.SetPingHandler(func(s string) error { pings = append(pings, s); return nil })
		c.SetPongHandler(func(s string) error { pongs = append(pongs, s); return nil })
		c.SetCloseHandler(func(int, string) error { return nil })
		kind, got, err := c.ReadMessage()
		if err != nil || kind != websocket.TextMessage || string(got) != text {
			t.Fatalf("text: %d %q %v", kind, got, err)
		}
		_, _, err = c.ReadMessage()
		var ce *websocket.CloseError
		if !errors.As(err, &ce) {
			t.Fatalf("close: %v", err)
		}
		if len(pings) != 1 || pings[0] != "" || len(pongs) != 1 || pongs[0] != pong[:min(len(pong), 125)] {
			t.Errorf("pings %q, pongs %q", pings, pongs)
		}
		wantCode := code
		if code == 0 {
			wantCode, reason = websocket.CloseNoStatusReceived, ""
		}
		if ce.Code != wantCode || !strings.HasPrefix(reason, ce.Text) || len(reason) <= 123 && ce.Text != reason || len(reason)-len(ce.Text) > 0 && len(ce.Text) < 120 {
			t.Errorf("closed with %d %q, want %d %q", ce.Code, ce.Text, code, reason)
		}
	})
}

// FuzzBareWS: a bare string arrives as the text that it was.
func FuzzBareWS(f *testing.F) {
	for _, s := range []string{`""`, `"a\nb"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00x"`, `"\ud83d\u0041"`, `"\ud83d\ud83d\ude00"`, `"\\u0041"`, `1`, `null`, `{"a":"b"}`, `"\/\b\f"`} {
		f.Add(s)
	}
	form := wire.Framings(wire.Options{})[wire.FormWSBare]
	f.Fuzz(func(t *testing.T, data string) {
		compact, text, ok := bareText(data)
		if !ok {
			return
		}
		got := form.Append(nil, messageEvent(compact))
		if want := wire.AppendWSText(nil, []byte(text)); !bytes.Equal(got, want) {
			t.Errorf("%q became %q, want %q", data, got, want)
		}
	})
}
