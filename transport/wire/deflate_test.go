package wire_test

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/wire"
)

// payload is what one frame of a server says, and whether it was compressed.
func payload(t testing.TB, frame []byte) (text string, packed bool) {
	t.Helper()
	n, at := int(frame[1]), 2
	switch n {
	case 126:
		n, at = int(frame[2])<<8|int(frame[3]), 4
	case 127:
		n, at = int(frame[6])<<24|int(frame[7])<<16|int(frame[8])<<8|int(frame[9]), 10
	}
	if len(frame) != at+n {
		t.Fatalf("a frame of %d bytes says %d", len(frame), at+n)
	}
	switch frame[0] {
	case 0x81:
		return string(frame[at:]), false
	case 0xc1:
		r := flate.NewReader(io.MultiReader(bytes.NewReader(frame[at:]), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%v in %x", err, frame)
		}
		return string(b), true
	}
	t.Fatalf("a frame begins with %x", frame[0])
	return "", false
}

// TestDeflated: a compressed frame says what the plain one does, and is there
// only where it is shorter and the message long enough.
func TestDeflated(t *testing.T) {
	noise := make([]byte, 2000)
	for i := range noise {
		noise[i] = 'A' + byte(rand.N(58)) // upper and lower case and a few signs
	}
	noise = bytes.ReplaceAll(noise, []byte(`\`), []byte("/"))
	const from = 300
	forms := wire.Framings(wire.Options{DeflateFrom: from})
	off := wire.Framings(wire.Options{})
	for _, plain := range []int{wire.FormWS, wire.FormWSBare, wire.FormWSPage} {
		form := wire.Deflated(plain)
		for _, tt := range []struct {
			name, data string
			packed     bool
		}{
			{"short", `"hello"`, false},
			{"long", `"` + strings.Repeat("hello ", 100) + `"`, true},
			{"longer", `"` + strings.Repeat("hello ", 20_000) + `"`, true},
			{"huge", `"` + strings.Repeat("hello, "+string(noise), 500) + `"`, true},
			{"noise", `"` + string(noise) + `"`, true}, // letters take less than a byte each
		} {
			ev := messageEvent(tt.data)
			const before = "before"
			want, _ := payload(t, forms[plain].Append(nil, ev))
			frame := forms[form].Append([]byte(before), ev)
			if string(frame[:len(before)]) != before {
				t.Fatalf("%s: what was there is %q", tt.name, frame[:len(before)])
			}
			got, packed := payload(t, frame[len(before):])
			if got != want || packed != tt.packed {
				t.Errorf("form %d, %s: compressed %v, %.100q, want %.100q", form, tt.name, packed, got, want)
			}
			if _, packed := payload(t, off[form].Append(nil, ev)); packed {
				t.Errorf("form %d, %s: compressed without a limit from which on", form, tt.name)
			}
		}
		if one, ok := forms[form].(interface{ ForOne() hub.Framing }); !ok || one.ForOne() != forms[plain] {
			t.Errorf("form %d has no form for one", form)
		}
	}
	// Exactly at the limit, and what does not become shorter.
	bare := forms[wire.FormWSBareDeflate]
	for n, want := range map[int]bool{from - 1: false, from: true} {
		if _, packed := payload(t, bare.Append(nil, messageEvent(strings.Repeat("1", n)))); packed != want {
			t.Errorf("%d bytes: compressed %v", n, packed)
		}
	}
	random := make([]byte, 4000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	if _, packed := payload(t, bare.Append(nil, messageEvent(string(random)))); packed {
		t.Error("what cannot be compressed was")
	}
	if wire.Deflated(wire.FormSSE) != wire.FormSSE {
		t.Error("another transport is compressed")
	}
}

func BenchmarkDeflate(b *testing.B) {
	for name, data := range map[string]string{
		"512B": row(4), "2KiB": row(16), "16KiB": row(128),
	} {
		b.Run(name, func(b *testing.B) {
			f := wire.Framings(wire.Options{DeflateFrom: 1})
			ev := messageEvent(data)
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				dst = f[wire.FormWSDeflate].Append(dst[:0], ev)
			}
			b.ReportMetric(float64(len(dst))/float64(len(f[wire.FormWS].Append(nil, ev))), "of-plain")
		})
	}
}

// row is JSON as applications send it, of n objects.
func row(n int) string {
	var b strings.Builder
	b.WriteByte('[')
	r := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"id":"`)
		for range 12 {
			b.WriteByte("0123456789abcdefghijklmnopqrstuvwxyz"[r.IntN(36)])
		}
		b.WriteString(`","user":"user-` + string(rune('a'+r.IntN(26))) + `","price":`)
		for range 6 {
			b.WriteByte("0123456789"[r.IntN(10)])
		}
		b.WriteString(`,"status":"delivered","tags":["one","two"],"at":"2024-05-0` + string(rune('1'+r.IntN(9))) + `T10:00:00Z"}`)
	}
	b.WriteByte(']')
	return b.String()
}
