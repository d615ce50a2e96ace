package rawjson_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/culvertd/culvert/transport/rawjson"
)

// depth is how deep a valid text nests.
func depth(valid []byte) (deepest int) {
	n, quoted := 0, false
	for i := 0; i < len(valid); i++ {
		switch c := valid[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			n++
			deepest = max(deepest, n)
		case c == '}' || c == ']':
			n--
		}
	}
	return deepest
}

// checkValue: Value takes what encoding/json takes and nothing else, up to its
// depth, and compacting gives the same bytes.
func checkValue(t *testing.T, text []byte) {
	t.Helper()
	s := rawjson.SkipSpace(text)
	n, spaced := rawjson.Value(s)
	valid := json.Valid(s)
	if n == 0 {
		if valid && depth(s) <= 64 {
			t.Fatalf("%q is not known as a value", text)
		}
		return
	}
	value, rest := s[:n], rawjson.SkipSpace(s[n:])
	if !json.Valid(value) {
		t.Fatalf("%q of %q is not JSON", value, text)
	}
	if valid != (len(rest) == 0) {
		t.Fatalf("%q: %q follows the value %q, but valid is %v", text, rest, value, valid)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, value); err != nil {
		t.Fatal(err)
	}
	if spaced != (want.Len() < n) {
		t.Fatalf("%q: spaced is %v", value, spaced)
	}
	if got := rawjson.AppendCompact(nil, value); !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("%q became %q, want %q", value, got, want.Bytes())
	}
}

var values = []string{
	``, ` `, `0`, `-0`, `01`, `-`, `1.`, `.5`, `1.5e+10`, `1e`, `1e5.`, `+1`, `0x1`, `1 2`, `-a`, `00`, `0e0`, `1E-07`,
	`true`, `tru`, `truex`, `false`, `null`, `nul`, `nulll`, `NaN`,
	`""`, `"`, `"a`, `"\`, `"\"`, `"\\"`, `"\u12aG"`, `"\u12a`, `"\u12aF"`, `"\ud800"`, `"\x"`, "\"\t\"", "\"\x7f\"", "\"12345678\x1f\"",
	`"1234567"`, `"12345678"`, `"123456\"8"`, `"1234567\\"`, "\"\u00fc\u2028\U0001f600 and more than eight bytes\"", "\"\xff\xfe12345678\"",
	`{}`, `{ }`, `[]`, `[ ]`, `{`, `[`, `{]`, `[}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a":1 "b":2}`, `[1 2]`, `{1:2}`,
	"{ \"a\" : [ 1 , 2.5 , { } ] ,\r\n\t\"b\":null }", `{"a":{"a":{"a":[[[]]]}}}`, "[1\v]", "[1\u00a0]", "\ufeff1", `[1]]`, `{"a":1}}`, `"a" "b"`, `[1][2]`,
	strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
	strings.Repeat(`{"a":[`, 32) + strings.Repeat("]}", 32), strings.Repeat(`[{"a":`, 32) + "1" + strings.Repeat("}]", 32),
	strings.Repeat(`[{"a":`, 32) + "1" + strings.Repeat("]}", 32),
}

func FuzzValue(f *testing.F) {
	for _, s := range values {
		f.Add([]byte(s))
	}
	f.Fuzz(checkValue)
}

// TestValueOnRandomText looks at every beginning of texts put together of what
// JSON is made of.
func TestValueOnRandomText(t *testing.T) {
	parts := []string{
		"{", "}", "[", "]", ":", ",", `"`, `"a"`, `"key":`, `"x\"y\\"`, "1", "-0.5e3", "true", "null", " ", "\n", "\t ", `\`, "u12ab", "\x01", "\x80", "ü", "longer than eight bytes",
		`{"a":1}`, `[1, 2]`, `{"b": {"c":[]}}`,
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		var text []byte
		for range 1 + random.IntN(12) {
			text = append(text, parts[random.IntN(len(parts))]...)
		}
		checkValue(t, text)
	}
	for _, s := range values {
		for n := range len(s) {
			checkValue(t, []byte(s[:n]))
		}
	}
}

// What is not JSON makes compacting neither fail nor run on.
func FuzzAppendCompact(f *testing.F) {
	for _, s := range values {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if got := rawjson.AppendCompact(nil, text); len(got) > len(text) {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func BenchmarkValue(b *testing.B) {
	for name, s := range map[string]string{
		"text":     `{"text":"` + strings.Repeat("x", 100) + `","n":17}`,
		"spaced":   `{ "text" : "` + strings.Repeat("x", 100) + `", "n" : 17 }`,
		"branches": `{"a":{"b":[1,2,3,{"c":"d"},null,true],"e":-1.5e3},"f":["g","h","i"],"j":{"k":{"l":{"m":{}}}}}`,
	} {
		b.Run(name, func(b *testing.B) {
			text := []byte(s)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if n, _ := rawjson.Value(text); n != len(text) {
					b.Fatal(n)
				}
			}
		})
	}
}
