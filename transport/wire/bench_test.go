package wire_test

import (
	"strings"
	"testing"

	"github.com/culvertd/culvert/transport/wire"
)

// BenchmarkAppend is the encoding of one message of 128 bytes: once per
// message and form, whatever the number of readers.
func BenchmarkAppend(b *testing.B) {
	forms := wire.Framings(wire.Options{})
	ev := messageEvent(`"` + strings.Repeat("x", 126) + `"`)
	for _, tt := range []struct {
		name string
		form int
	}{{"ws", wire.FormWS}, {"ws-bare", wire.FormWSBare}, {"sse", wire.FormSSE}, {"ndjson", wire.FormNDJSON}, {"poll", wire.FormPoll}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 1024)
			for b.Loop() {
				buf = forms[tt.form].Append(buf[:0], ev)
			}
		})
	}
}

// BenchmarkAppendWithCursor is what each SSE connection with several rooms
// costs per message.
func BenchmarkAppendWithCursor(b *testing.B) {
	f := wire.Framings(wire.Options{})[wire.FormSSE]
	w := f.Append(nil, messageEvent(`"`+strings.Repeat("x", 126)+`"`))
	cursor := []byte("a=0mi8.1.x,b=0mi8.2.y,lobby=0mi8.42.q7f2ak31x0")
	b.ReportAllocs()
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = f.AppendWithCursor(buf[:0], w, cursor)
	}
}
