package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

func TestData(t *testing.T) {
	tests := []struct {
		body   string
		strict bool
		want   string
		code   codes.Code
	}{
		{body: `{"a": [1, 2]}`, want: `{"a":[1,2]}`},
		{body: `{"a": [1, 2]}`, strict: true, want: `{"a":[1,2]}`},
		{body: ` "x y" `, want: `"x y"`},
		{body: `{"b":1,"a":"<&>\u2028"}`, want: `{"b":1,"a":"<&>\u2028"}`},
		{body: `1e400`, want: `1e400`},
		{body: `null`, want: `null`},
		{body: `hello`, want: `"hello"`},
		{body: "two\nlines \"quoted\" \\", want: `"two\nlines \"quoted\" \\"`},
		{body: `{"a":1}{"b":2}`, want: `"{\"a\":1}{\"b\":2}"`},
		{body: ` `, want: `" "`},
		{body: "\xef\xbb\xbf{}", want: "\"\xef\xbb\xbf{}\""},
		{body: `hello`, strict: true, code: codes.BadJSON},
		{body: ` `, strict: true, code: codes.BadJSON},
		{body: `{"a":1}{"b":2}`, strict: true, code: codes.BadJSON},
		{body: ``, code: codes.EmptyBody},
		{body: ``, strict: true, code: codes.EmptyBody},
		{body: "\xff", code: codes.BadUTF8},
		{body: "\"\xff\"", strict: true, code: codes.BadUTF8},
		{body: "\"\xed\xa0\x80\"", code: codes.BadUTF8},
	}
	for _, tt := range tests {
		got, e := Data([]byte(tt.body), tt.strict)
		if tt.code != "" {
			if e == nil || e.Code != tt.code {
				t.Errorf("Data(%q, %v) = %q, %v; want %s", tt.body, tt.strict, got, e, tt.code)
			}
			continue
		}
		if e != nil || string(got) != tt.want {
			t.Errorf("Data(%q, %v) = %q, %v; want %q", tt.body, tt.strict, got, e, tt.want)
		}
	}
}

// What is published later must not change what was published before.
func TestDataDoesNotShareMemory(t *testing.T) {
	body := []byte(`{"a":1}`)
	first, _ := Data(body, true)
	copy(body, `{"b":2}`)
	if _, e := Data(body, true); e != nil || string(first) != `{"a":1}` {
		t.Fatalf("the first message became %s", first)
	}
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"1", " ", "~!", `"quoted"`, strings.Repeat("k", 200)} {
		if e := CheckKey(key); e != nil {
			t.Errorf("%q: %v", key, e)
		}
	}
	for _, key := range []string{"", "a\tb", "\x7f", "ü", "a\nb", strings.Repeat("k", 201)} {
		if e := CheckKey(key); e == nil || e.Code != codes.BadKey || e.Allowed == "" {
			t.Errorf("%q: %v", key, e)
		}
	}
}

// fakeHub gives offsets, and the errors that keys ask for.
type fakeHub struct{ got []hub.Publish }

func (f *fakeHub) Publish(_ context.Context, batch []hub.Publish) []hub.Result {
	results := make([]hub.Result, len(batch))
	for i := range batch {
		f.got = append(f.got, batch[i])
		batch[i].ID = fmt.Sprintf("id%d", len(f.got))
		results[i] = hub.Result{Position: hub.Position{Epoch: "e", Offset: uint64(len(f.got)), ID: batch[i].ID}, Time: 17}
		switch batch[i].Key {
		case "conflict":
			results[i] = hub.Result{Err: fmt.Errorf("store: %w", hub.ErrKeyConflict)}
		case "broken":
			results[i] = hub.Result{Err: errors.New("secret")}
		case "again":
			results[i].Duplicate = true
		}
		if batch[i].Ephemeral {
			results[i].Position = hub.Position{}
		}
	}
	return results
}

func TestBatchResults(t *testing.T) {
	body := `[
		{"room":"a","data":{"x": 1}},
		{"room":"a b","data":1},
		{"room":"b","data":null,"key":"conflict"},
		{"room":"b","data":2,"key":""},
		{"room":"b","data":2,"key":"again"},
		{"room":"b"},
		{"data":1},
		{"room":"b","data":"` + strings.Repeat("x", 100) + `"},
		{"room":"c","data":"e","ephemeral":true,"key":null,"more":1},
		{"room":"c","data":0,"key":"broken"}
	]`
	b, e := ParseBatch([]byte(body), Limits{Message: 101})
	if e != nil {
		t.Fatal(e)
	}
	h := &fakeHub{}
	fault := b.Run(context.Background(), h)
	if fault == nil || fault.Error() != "secret" {
		t.Errorf("the fault for the log is %v", fault)
	}
	want := []struct {
		status int
		room   string
		code   string
	}{
		{201, "a", ""}, {400, "", "bad_room"}, {422, "b", "key_conflict"}, {400, "b", "bad_key"}, {200, "b", ""},
		{400, "b", "bad_json"}, {400, "", "bad_room"}, {413, "b", "message_too_large"}, {201, "c", ""}, {500, "c", "internal"},
	}
	var got struct {
		Results []struct {
			Status int
			Room   string
			Offset int
			Cursor string
			ID     string
			Error  struct{ Code, Message string }
		}
	}
	text := append(b.AppendResults([]byte("{")), '}')
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(got.Results) != len(want) {
		t.Fatalf("%d results, want %d", len(got.Results), len(want))
	}
	for i, w := range want {
		g := got.Results[i]
		if g.Status != w.status || g.Room != w.room || g.Error.Code != w.code {
			t.Errorf("result %d: %+v, want %+v", i, g, w)
		}
	}
	if r := got.Results[0]; r.Offset != 1 || r.Cursor != "a=e.1.id1" || r.ID != "id1" {
		t.Errorf("the first result is %+v", r)
	}
	if r := got.Results[8]; r.Cursor != "" || r.ID == "" {
		t.Errorf("the ephemeral result is %+v", r)
	}
	if strings.Contains(string(text), "secret") {
		t.Error("the text of an internal error is shown")
	}
	if len(h.got) != 5 || string(h.got[0].Data) != `{"x":1}` || string(h.got[1].Data) != "null" {
		t.Errorf("published %+v", h.got)
	}
	if h.got[1].Fingerprint != hub.FingerprintOf([]byte("null"), false) || h.got[0].Fingerprint != (hub.Fingerprint{}) {
		t.Error("fingerprints belong to messages with a key")
	}
}

func TestBatchForms(t *testing.T) {
	type parser func([]byte, Limits) (Batch, *codes.Error)
	tests := []struct {
		name  string
		parse parser
		body  string
		n     int
		code  codes.Code
	}{
		{"object", ParseBatch, `{"room":"a","data":1}`, 1, ""},
		{"array", ParseBatch, ` [ {"room":"a","data":1} , {} ] `, 2, ""},
		{"empty array", ParseBatch, `[]`, 0, ""},
		{"lines", ParseLines, "{\"room\":\"a\",\"data\":1}\r\n\n  \n{\"room\":\"a\",\"data\":2}", 2, ""},
		{"no lines", ParseLines, "\n", 0, ""},
		{"empty", ParseBatch, ``, 0, codes.EmptyBody},
		{"empty lines", ParseLines, ``, 0, codes.EmptyBody},
		{"number", ParseBatch, `1`, 0, codes.BadJSON},
		{"null", ParseBatch, `null`, 0, codes.BadJSON},
		{"null in array", ParseBatch, `[null]`, 0, codes.BadJSON},
		{"array in array", ParseBatch, `[[]]`, 0, codes.BadJSON},
		{"number for room", ParseBatch, `[{"room":1,"data":1}]`, 0, codes.BadJSON},
		{"string for ephemeral", ParseBatch, `[{"room":"a","data":1,"ephemeral":"1"}]`, 0, codes.BadJSON},
		{"two objects", ParseBatch, `{"room":"a","data":1}{"room":"a","data":1}`, 0, codes.BadJSON},
		{"cut short", ParseBatch, `[{"room":"a","data":1}`, 0, codes.BadJSON},
		{"array as line", ParseLines, `[{"room":"a","data":1}]`, 0, codes.BadJSON},
		{"broken line", ParseLines, "{\"room\":\"a\",\"data\":1}\n{\"room\"\n", 0, codes.BadJSON},
		{"not UTF-8", ParseBatch, "{\"room\":\"a\",\"data\":\"\xff\"}", 0, codes.BadUTF8},
		{"not UTF-8 lines", ParseLines, "\xff", 0, codes.BadUTF8},
		{"too many", ParseBatch, `[{},{},{},{}]`, 0, codes.BatchTooLarge},
		{"too many lines", ParseLines, "{}\n{}\n{}\n{}", 0, codes.BatchTooLarge},
	}
	for _, tt := range tests {
		b, e := tt.parse([]byte(tt.body), Limits{Batch: 3})
		if tt.code != "" {
			if e == nil || e.Code != tt.code || b.Len() != 0 {
				t.Errorf("%s: %d messages, %v; want %s", tt.name, b.Len(), e, tt.code)
			}
		} else if e != nil || b.Len() != tt.n {
			t.Errorf("%s: %d messages, %v; want %d", tt.name, b.Len(), e, tt.n)
		}
	}
}

func FuzzData(f *testing.F) {
	for _, s := range []string{"", "x", `{"a": 1}`, `"\ud800"`, "\xff", `[[[]]]`, "1 2", `" `, "\u2028", "\x00"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, strict bool) {
		data, e := Data(body, strict)
		if e != nil {
			if !strict && utf8.Valid(body) && len(body) > 0 {
				t.Fatalf("text was refused: %v", e)
			}
			return
		}
		if !json.Valid(data) || !utf8.Valid(data) || bytes.ContainsAny(data, "\n\r") {
			t.Fatalf("%q became %q", body, data)
		}
		if again, e := Data(data, true); e != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is not compact: %q, %v", data, again, e)
		}
		if json.Valid(body) {
			return
		}
		var text string
		if err := json.Unmarshal(data, &text); err != nil || text != string(body) {
			t.Fatalf("text %q became %q", body, data)
		}
	})
}

func FuzzBatch(f *testing.F) {
	for _, s := range []string{`[]`, `{}`, `{"room":"a","data":1,"key":"k"}`, `[{"room":"a","data":{"x": "y"}}]`, "{\"room\":\"a\",\"data\":1}\n{}", `[{"room":null}]`} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		parse := ParseBatch
		if lines {
			parse = ParseLines
		}
		b, e := parse(body, Limits{})
		if e != nil {
			if info, ok := codes.Lookup(e.Code); !ok || info.HTTP >= 500 {
				t.Fatalf("refused with %+v", e)
			}
			return
		}
		h := &fakeHub{}
		_ = b.Run(context.Background(), h)
		if text := append(b.AppendResults([]byte("{")), '}'); !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		for _, p := range h.got {
			if hub.ValidateRoom(p.Room) != nil || !json.Valid(p.Data) || !utf8.Valid(p.Data) || bytes.ContainsAny(p.Data, "\n\r") || len(p.Key) > MaxKeyLen {
				t.Fatalf("published %+v", p)
			}
		}
	})
}

func BenchmarkData(b *testing.B) {
	body := []byte(`{"text":"` + strings.Repeat("x", 100) + `","n":17}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, e := Data(body, true); e != nil {
			b.Fatal(e)
		}
	}
}

// A batch that is put together in the memory of one before has nothing of it.
func TestFree(t *testing.T) {
	for n := range 20 {
		body := fmt.Sprintf(`[{"room":"a","data":%d,"key":"k","ephemeral":true},{"room":"b","data":1},{}]`, n)
		if n%2 == 1 {
			body = fmt.Sprintf(`[{"room":"c","data":%d}]`, n)
		}
		b, e := ParseBatch([]byte(body), Limits{})
		if e != nil {
			t.Fatal(e)
		}
		h := &fakeHub{}
		_ = b.Run(context.Background(), h)
		want := hub.Publish{Room: "c", ID: "id1", Data: fmt.Append(nil, n)}
		if n%2 == 0 {
			want.Room, want.Key, want.Ephemeral, want.Fingerprint = "a", "k", true, hub.FingerprintOf(want.Data, true)
		}
		if got := b.publish[0]; !reflect.DeepEqual(got, want) || b.Len() != 3-2*(n%2) {
			t.Fatalf("%d: %+v, want %+v", n, got, want)
		}
		kept := b.publish
		b.Free()
		if !reflect.DeepEqual(kept[0], hub.Publish{}) || b.Len() != 0 || string(b.AppendResults(nil)) != `"results":[]` {
			t.Fatalf("%d: kept %+v", n, kept[0])
		}
	}
}
