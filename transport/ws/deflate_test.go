package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestOffersDeflate(t *testing.T) {
	for _, tt := range []struct {
		offers []string
		want   bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"permessage-deflate"}, true},
		{[]string{"permessage-deflate; client_max_window_bits"}, true}, // browsers
		{[]string{"permessage-deflate;client_max_window_bits=10 ; client_no_context_takeover;server_no_context_takeover"}, true},
		{[]string{`permessage-deflate; client_max_window_bits="15"`}, true},
		{[]string{"x-webkit-deflate-frame, permessage-deflate"}, true},
		{[]string{"bbf-usp-protocol", "permessage-deflate"}, true},
		{[]string{"permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits"}, true},
		// What cannot be answered so, and what is none.
		{[]string{"permessage-deflate; server_max_window_bits=10"}, false},
		{[]string{"permessage-deflate; server_max_window_bits=15"}, false},
		{[]string{"permessage-deflate; client_max_window_bits=16"}, false},
		{[]string{"permessage-deflate; client_max_window_bits=08"}, false},
		{[]string{"permessage-deflate; client_max_window_bits="}, false},
		{[]string{"permessage-deflate; client_no_context_takeover=1"}, false},
		{[]string{"permessage-deflate; client_no_context_takeover; client_no_context_takeover"}, false},
		{[]string{"permessage-deflate; new_parameter"}, false},
		{[]string{"permessage-deflate;"}, true}, // nothing is behind it
		{[]string{"permessage-deflate;;"}, false},
		{[]string{"permessage-bzip2"}, false},
		{[]string{"Permessage-Deflate; x"}, false},
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Extensions": tt.offers}}
		if got := offersDeflate(r); got != tt.want {
			t.Errorf("%q: %v", tt.offers, got)
		}
	}
}

// pack compresses as clients do; final ends the stream with a last block, which
// the extension allows.
func pack(text string, final bool) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	w.Write([]byte(text))
	if final {
		w.Close()
		return b.String() + "\x00"
	}
	w.Flush()
	return string(b.Bytes()[:b.Len()-4])
}

func TestInflate(t *testing.T) {
	for _, tt := range []struct {
		packed string
		want   string
		err    error
	}{
		{pack("hello", false), "hello", nil},
		{pack("hello", true), "hello", nil},
		{pack("", false), "", nil},
		{"\x00", "", nil}, // an empty message, as the specification writes it
		{"\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello", nil},
		{"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello", nil}, // not compressed
		{pack(strings.Repeat("x", testLimit), false), strings.Repeat("x", testLimit), nil},
		{pack(strings.Repeat("x", testLimit+1), false), "", errFrameLimit},
		{pack(strings.Repeat("x", 1<<24), false), "", errFrameLimit}, // 16 KB for 16 MiB
		{"\xff\xff", "", errDeflate},
		{pack("hello", false)[:3], "", errDeflate},
	} {
		for range 2 { // a reader that was in trouble is used again
			got, err := inflate([]byte(tt.packed), testLimit)
			if string(got) != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("%.20q: %.20q, %v", tt.packed, got, err)
			}
		}
	}
}

var deflateCases = map[string][]byte{
	"packed":                masked(0xc1, pack("hello", false)),
	"with a last block":     masked(0xc1, pack("hello", true)),
	"empty":                 masked(0xc1, "\x00"),
	"nothing":               masked(0xc1, ""),
	"packed, then plain":    append(masked(0xc1, pack("hello", false)), masked(0x81, "hello")...),
	"binary":                masked(0xc2, pack("hello", false)),
	"bomb":                  masked(0xc1, pack(strings.Repeat("x", 100_000), false)),
	"at the limit":          masked(0xc1, pack(strings.Repeat("x", testLimit), false)),
	"broken":                masked(0xc1, "\xff\xff\xff"),
	"fragments":             append(masked(0x41, pack("hello", false)[:3]), masked(0x80, pack("hello", false)[3:])...),
	"fragments, both said":  append(masked(0x41, "\x00"), masked(0xc0, "")...),
	"packed ping":           masked(0xc9, "x"),
	"other reserved bits":   masked(0xe1, pack("hello", false)),
	"plain over the limit":  masked(0x81, strings.Repeat("x", testLimit+1)),
	"packed over the limit": masked(0xc1, strings.Repeat("x", testLimit+1)),
}

func TestDeflatedFramesAgreeWithGorilla(t *testing.T) {
	for name, input := range deflateCases {
		if name == "packed ping" || name == "fragments, both said" {
			continue // gorilla lets them pass, RFC 7692 does not
		}
		want := theirs(t, input, true)
		for _, piece := range []int{1, 2, 3, 7, 1 << 20} {
			if got := ours(input, piece, true); !agree(got, want) {
				t.Errorf("%s in pieces of %d: %.200q, gorilla says %.200q", name, piece, got, want)
			}
		}
	}
	for _, name := range []string{"packed ping", "fragments, both said"} {
		if got := ours(deflateCases[name], 1, true); got[len(got)-1] != "error" {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, input := range deflateCases {
		if got := ours(input, 1, false); input[0]&0x40 != 0 && fmt.Sprint(got) != "[error]" {
			t.Errorf("%s, not agreed on: %q", name, got)
		}
	}
}

// FuzzDeflatedFrames: whatever comes, it is read the same in pieces of every
// size and as gorilla reads it, and what a message says is within the limit.
// gorilla reads a compressed message as it comes, so what lies between its
// frames, or behind its last block, may be heard in another order: only whole
// messages in one frame are compared.
func FuzzDeflatedFrames(f *testing.F) {
	for _, cases := range []map[string][]byte{frameCases, deflateCases} {
		for _, input := range cases {
			f.Add(input, 3)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte, piece int) {
		if piece < 1 || piece > 1<<16 {
			piece = 1
		}
		got := ours(input, piece, true)
		if whole := ours(input, max(1, len(input)), true); fmt.Sprint(got) != fmt.Sprint(whole) {
			t.Errorf("%x in pieces of %d: %q, whole %q", input, piece, got, whole)
		}
		for _, event := range got {
			if len(event) > 4*testLimit+100 {
				t.Errorf("%x: an event of %d bytes", input, len(event))
			}
		}
		var reader frames
		reader.deflate = true
		for rest := input; len(rest) > 0; {
			n, ev, err := reader.next(rest, testLimit)
			if err != nil || reader.packed && reader.kind != 0 && !reader.final {
				return
			}
			if rest = rest[n:]; ev.packed {
				if _, err := inflate(bytes.Clone(ev.payload), testLimit); err != nil {
					return
				}
			}
		}
		if !reader.idle() {
			return // cut off: gorilla may know already what the rest could not change
		}
		if want := theirs(t, input, true); !agree(got, want) {
			t.Errorf("%x in pieces of %d: %q, gorilla says %q", input, piece, got, want)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	packed := []byte(pack(`{"type":"publish","ref":1,"data":"`+strings.Repeat("hello ", 200)+`"}`, false))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inflate(packed[:len(packed):len(packed)], 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
