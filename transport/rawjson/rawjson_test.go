package rawjson_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/culvertd/culvert/transport/rawjson"
)

// FuzzWalk: objects and arrays are walked as encoding/json reads them.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` { "a" : 1 , "b":[1,{"x":"]}"}] } `, `[1,"a,b",[],{},null,true, false ,-1e5]`, `{"a\"b":"\\"}`, `{"a":"\\\"}"}`,
		`{"\u0061":{},"a":[[]]}`, `"x"`, `7`, "\t[\r\n1 ]", `{"a":{"b":{"c":"}"}}}`, `[""]`, `{"":""}`, `["\""]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || !utf8.Valid(raw) {
			return
		}
		var wantMembers map[string]json.RawMessage
		var wantElements []json.RawMessage
		switch {
		case json.Unmarshal(raw, &wantMembers) == nil && wantMembers != nil:
			got := map[string]json.RawMessage{}
			for name, value := range rawjson.Members(raw) {
				got[name] = value
			}
			if len(got) != len(wantMembers) {
				t.Fatalf("%q: %q, want %q", raw, got, wantMembers)
			}
			for name, value := range wantMembers {
				if !bytes.Equal(got[name], value) {
					t.Errorf("%q: %q is %q, want %q", raw, name, got[name], value)
				}
			}
			if rawjson.IsArray(rawjson.Trim(raw)) || !rawjson.IsObject(rawjson.Trim(raw)) {
				t.Errorf("%q is not an object", raw)
			}
		case json.Unmarshal(raw, &wantElements) == nil && wantElements != nil:
			got := slices.Collect(rawjson.Elements(raw))
			if !slices.EqualFunc(got, wantElements, func(a []byte, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
				t.Errorf("%q: %q, want %q", raw, got, wantElements)
			}
		default:
			for range rawjson.Members(raw) {
				t.Errorf("%q has members", raw)
			}
			for range rawjson.Elements(raw) {
				t.Errorf("%q has elements", raw)
			}
			var want string
			got, ok := rawjson.String(rawjson.Trim(raw))
			if isString := rawjson.Trim(raw)[0] == '"'; isString != ok || isString && json.Unmarshal(raw, &want) == nil && got != want {
				t.Errorf("%q is %q, %v, want %q", raw, got, ok, want)
			}
		}
	})
}

// FuzzInvalid: nothing that is not JSON makes the walk fail or not end.
func FuzzInvalid(f *testing.F) {
	for _, s := range []string{`{`, `{"`, `{"a`, `{"a":`, `{"a":"\`, `[`, `[1,,`, `[}`, `{"a":]`, `{]`, `[:`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := 0
		for range rawjson.Members(raw) {
			n++
		}
		for range rawjson.Elements(raw) {
			n++
		}
		if n > 2*len(raw) {
			t.Errorf("%q: %d values", raw, n)
		}
	})
}

func TestScalars(t *testing.T) {
	for _, tt := range []struct {
		raw string
		n   int64
		ok  bool
	}{{"0", 0, true}, {"-7", -7, true}, {"1.0", 0, false}, {"1e3", 0, false}, {`"1"`, 0, false}, {"99999999999999999999", 0, false}, {"null", 0, false}} {
		if n, ok := rawjson.Int([]byte(tt.raw)); ok != tt.ok || ok && n != tt.n {
			t.Errorf("Int(%s) = %d, %v", tt.raw, n, ok)
		}
	}
	for raw, want := range map[string][2]bool{"true": {true, true}, "false": {false, true}, "null": {}, "1": {}, "": {}} {
		if v, ok := rawjson.Bool([]byte(raw)); v != want[0] || ok != want[1] {
			t.Errorf("Bool(%s) = %v, %v", raw, v, ok)
		}
	}
	if rawjson.IsNull([]byte("1")) || !rawjson.IsNull([]byte("null")) {
		t.Error("IsNull")
	}
}
