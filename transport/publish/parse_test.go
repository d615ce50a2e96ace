package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/rawjson"
	"github.com/culvertd/culvert/transport/wire"
)

// What follows reads publishes with encoding/json alone. It is slow, and what
// the parser has to agree with: in what it takes, in what that means, and in
// the code, words and place of every error.

type oracle struct {
	limits      Limits
	defaultRoom string
	batch       Batch
}

func (o *oracle) compact(text []byte) ([]byte, *codes.Error) {
	var buf bytes.Buffer
	if err := json.Compact(&buf, text); err != nil {
		return nil, o.bad(err)
	}
	return buf.Bytes(), nil
}

func (o *oracle) bad(err error) *codes.Error {
	why := err.Error()
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		why = wrong.Field + " is a " + wrong.Value
	}
	return codes.New(codes.BadJSON, "nothing was published: "+why).WithAllowed(formAllowed)
}

func (o *oracle) item(text []byte) *codes.Error {
	if text[0] != '{' {
		return o.bad(errors.New("an element is not an object"))
	}
	var it Item
	if err := json.Unmarshal(text, &it); err != nil {
		return o.bad(err)
	}
	o.batch.Add(&it, o.defaultRoom, o.limits)
	return nil
}

func (o *oracle) array(text []byte) *codes.Error {
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return o.bad(err)
	}
	if len(elements) > o.limits.Batch {
		return tooMany(o.limits.Batch)
	}
	for _, element := range elements {
		if e := o.item(element); e != nil {
			return e
		}
	}
	return nil
}

func (o *oracle) body(body []byte) *codes.Error {
	text, e := o.compact(body)
	switch {
	case e != nil:
		return e
	case text[0] == '[':
		return o.array(text)
	}
	return o.item(text)
}

func (o *oracle) lines(body []byte) *codes.Error {
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if o.batch.Len() == o.limits.Batch {
			return tooMany(o.limits.Batch)
		}
		text, e := o.compact(line)
		if e != nil {
			return e
		}
		if e := o.item(text); e != nil {
			return e
		}
	}
	return nil
}

// same compares what became of a body.
func same(t *testing.T, what string, body []byte, got Batch, gotErr *codes.Error, want Batch, wantErr *codes.Error) {
	t.Helper()
	if wantErr != nil {
		if !reflect.DeepEqual(gotErr, wantErr) || got.Len() != 0 {
			t.Fatalf("%s %q: %d messages, error %+v, want %+v", what, body, got.Len(), gotErr, wantErr)
		}
		return
	}
	if gotErr != nil {
		t.Fatalf("%s %q: error %+v, want %d messages", what, body, gotErr, want.Len())
	}
	equal := func(a, b hub.Publish) bool {
		data := bytes.Equal(a.Data, b.Data) && (a.Data == nil) == (b.Data == nil)
		a.Data, b.Data = nil, nil
		return data && reflect.DeepEqual(a, b)
	}
	if !slices.EqualFunc(got.publish, want.publish, equal) {
		t.Fatalf("%s %q: publishes\n%+v, want\n%+v", what, body, got.publish, want.publish)
	}
	if !slices.EqualFunc(got.refused, want.refused, func(a, b refusal) bool { return reflect.DeepEqual(a, b) }) {
		t.Fatalf("%s %q: refuses\n%+v, want\n%+v", what, body, got.refused, want.refused)
	}
}

// compare reads a body in every way there is, and by the oracle.
func compare(t *testing.T, body []byte) {
	t.Helper()
	limits := Limits{Message: 60, Batch: 3}.WithDefaults()
	kept := bytes.Clone(body)
	for _, form := range []struct {
		name  string
		parse func([]byte, Limits) (Batch, *codes.Error)
		read  func(*oracle, []byte) *codes.Error
	}{
		{"batch", ParseBatch, (*oracle).body},
		{"lines", ParseLines, (*oracle).lines},
	} {
		o := oracle{limits: limits}
		e := checkText(body)
		if e == nil {
			e = form.read(&o, body)
		}
		got, gotErr := form.parse(body, limits)
		if !bytes.Equal(body, kept) {
			t.Fatalf("%s: %q became %q", form.name, kept, body)
		}
		// Nothing may still lie in the body, which is used again.
		clear(body)
		same(t, form.name, kept, got, gotErr, o.batch, e)
		copy(body, kept)
	}
	if !utf8.Valid(body) {
		return
	}
	if text, e := Compact(body); e == nil && rawjson.IsArray(text) {
		o := oracle{limits: limits, defaultRoom: "default"}
		e := o.array(text)
		got, gotErr := ParseArray(text, "default", limits)
		same(t, "command", body, got, gotErr, o.batch, e)
	}
	compareData(t, body)
}

func compareData(t *testing.T, body []byte) {
	t.Helper()
	var buf bytes.Buffer
	err := json.Compact(&buf, body)
	text, compactErr := Compact(body)
	if (err == nil) != (compactErr == nil) || err == nil && !bytes.Equal(text, buf.Bytes()) ||
		err != nil && compactErr.Message != "this is not JSON: "+err.Error() {
		t.Fatalf("Compact(%q) = %q, %v; want %q, %v", body, text, compactErr, buf.Bytes(), err)
	}
	if len(body) == 0 {
		return
	}
	strict, strictErr := Data(body, true)
	loose, looseErr := Data(body, false)
	want := buf.Bytes()
	if err != nil {
		want = wire.AppendString(nil, body)
		if strictErr == nil || strictErr.Message != "the body is not JSON: "+err.Error() {
			t.Fatalf("strict Data(%q): %v, want %v", body, strictErr, err)
		}
	} else if strictErr != nil || !bytes.Equal(strict, want) {
		t.Fatalf("strict Data(%q) = %q, %v; want %q", body, strict, strictErr, want)
	}
	if looseErr != nil || !bytes.Equal(loose, want) {
		t.Fatalf("Data(%q) = %q, %v; want %q", body, loose, looseErr, want)
	}
}

var bodies = []string{
	`{"room":"a","data":1}`, ` {"room" : "a" , "data" : {"x": [1, 2]} } `, `{"data":null,"room":"a","key":"k","ephemeral":true}`,
	`[{"room":"a","data":1},{"room":"a","data":2},{"room":"b","data":3}]`, `[{},{},{},{}]`, `[{},{},{},{}`, `[{},{},{},[]]`, `[]`, ` [ ] `, `[] x`, `[,]`, `[{},]`, `[{}{}]`,
	// Names that are taken for a field's, and such that are not.
	`{"ROOM":"a","Data":1,"kEY":"k","Ephemeral":true}`, `{"\u0072oom":"a","data":1}`, `{"room":"a","data":1,"\u212aey":"k"}`, "{\"room\":\"a\",\"data\":1,\"\u212aey\":\"k\"}",
	`{"room":"a","data":1,"keys":"k","rooms":[],"dat":1,"datum":{"room":"b"}}`, `{"room":"a","data":1,"":2,"r\u006fom":"b"}`,
	// The same field more than once.
	`{"room":"a","room":"b","data":1,"data":2}`, `{"room":"a","room":null,"data":1}`, `{"room":"a","ROOM":"b","data":1}`, `{"room":"a","data":1,"data":null}`,
	`{"room":"a","data":1,"ephemeral":true,"ephemeral":null}`, `{"room":"a","data":1,"key":"k","key":null}`, `{"room":1,"room":"a","data":1}`, `{"room":"a","data":[1 ,2],"data":3}`,
	// Values of another type.
	`{"room":1,"data":1}`, `{"room":["a"],"data":1}`, `{"room":{},"key":7,"data":1}`, `{"room":"a","data":1,"ephemeral":1}`, `{"room":"a","data":1,"ephemeral":"true"}`,
	`{"room":"a","data":1,"key":false}`, `{"room":true,"data":1}`, `[{"room":"a","data":1},{"room":7}]`, `[{"room":7},{"room":"a"]`, `{"room":"a","data":1,"ephemeral":[]}`,
	// Strings with escapes, and rooms that look like the one before.
	`{"room":"\u0061","data":"\u0061","key":"\"\\\/"}`, `[{"room":"a\\b","data":1},{"room":"a\b","data":1}]`, `[{"room":"a","data":1},{"room":"\u0061","data":1}]`,
	`{"room":"a","data":1,"key":"\ud800"}`, `{"room":"a","data":"\ud800"}`, `[{"room":"","data":1},{"room":"","data":1},{"data":1}]`,
	// What is refused by itself.
	`[{"room":"a b","data":1},{"room":"a"},{"room":"a","data":1,"key":""}]`, `{"room":"a","data":"` + strings.Repeat("x", 60) + `"}`, `{"room":"a","data":[` + strings.Repeat("1 , ", 12) + `1]}`,
	// Texts that break off, go on, or nest.
	`{"room":"a","data":1}x`, `{"room":"a","data":1}{}`, `{"room":"a" "data":1}`, `{"room"`, `{"room":`, `{"room":"a"`, `{"room":"a",`, `{"room":"a",}`, `{`, `{ `, `{x`, `"`, `nul`,
	`{"room":"a","data":` + strings.Repeat("[", 30) + strings.Repeat("]", 30) + `}`, `{"room":"a","data":` + strings.Repeat("[", 66) + strings.Repeat("]", 66) + `}`,
	`{"room":"a","data":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, strings.Repeat("[", 10001) + strings.Repeat("]", 10001), strings.Repeat("[", 10000) + strings.Repeat("]", 10000),
	// Lines.
	"{\"room\":\"a\",\"data\":1}\n{\"room\":\"a\",\"data\":2}\r\n", "\n\n \t\n{\"room\":\"a\",\"data\":1} \n\v\n\u0085\n", "{}\n{}\n{}\n{}", "{}\n{}\n{}\n\u00a0\n", "{}{}\n", "{} x\n{}", "[{}]\n", "{\"room\":\n\"a\"}", "\u00a0{}", "\v{}\n",
	``, `1`, `null`, `"x"`, `[null]`, `[[]]`, "\xff", "{\"room\":\"a\",\"data\":\"\xff\"}", "\ufeff{}", `hello`, `1e400`, `-`,
}

func TestParsersAgree(t *testing.T) {
	for _, s := range bodies {
		compare(t, []byte(s))
	}
}

func FuzzParsersAgree(f *testing.F) {
	for _, s := range bodies {
		f.Add([]byte(s))
	}
	f.Fuzz(compare)
}

// TestParsersAgreeOnRandomBodies makes bodies that are mostly of the form, and
// changes some of them a little.
func TestParsersAgreeOnRandomBodies(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from ...string) string { return from[random.IntN(len(from))] }
	space := func() string { return pick("", "", "", "", " ", "\t", "  ", "\r\n") }
	value := func() string {
		return pick(`1`, `-2.5e3`, `"text"`, `"a\nb"`, `"\u00fc"`, `null`, `true`, `false`, `{}`, `[]`, `{"a": [1, {"b":"c"}]}`, `"`+strings.Repeat("y", random.IntN(70))+`"`, `"ü"`)
	}
	item := func() string {
		var b strings.Builder
		b.WriteString("{" + space())
		for i := range random.IntN(6) {
			if i > 0 {
				b.WriteString("," + space())
			}
			name := pick("room", "room", "room", "data", "data", "key", "ephemeral", "more", "Room", "KEY", "datA", "", "da\\u0074a", "\u212aey")
			v := value()
			if random.IntN(8) > 0 {
				switch strings.ToLower(name) {
				case "room":
					v = pick(`"a"`, `"a"`, `"b"`, `"a b"`, `null`, `""`, `"\u0061"`)
				case "key":
					v = pick(`"k1"`, `"k2"`, `null`, `""`, `"ü"`)
				case "ephemeral":
					v = pick("true", "false", "null")
				}
			}
			fmt.Fprintf(&b, `"%s"%s:%s%s%s`, name, space(), space(), v, space())
		}
		return b.String() + "}"
	}
	for range 8_000 {
		items := make([]string, random.IntN(5))
		for i := range items {
			items[i] = item()
		}
		var body string
		switch random.IntN(3) {
		case 0:
			body = space() + "[" + space() + strings.Join(items, space()+","+space()) + "]" + space()
		case 1:
			body = strings.Join(items, pick("\n", "\r\n", " \n\n"))
		default:
			body = item()
		}
		text := []byte(body)
		if len(text) > 0 && random.IntN(3) == 0 {
			switch i := random.IntN(len(text)); random.IntN(4) {
			case 0:
				text = text[:i]
			case 1:
				text = slices.Delete(text, i, i+1)
			case 2:
				text[i] = "{}[]\",:\\ 1nt\x00\xc3\n"[random.IntN(15)]
			default:
				text = slices.Insert(text, i, "{}[]\",:\\ 1nt\x00\xc3\n"[random.IntN(15)])
			}
		}
		compare(t, text)
	}
}

// The memory that a message's data takes is its own, and no more than its size
// asks for, however much white space the client sent.
func TestDataHasItsSize(t *testing.T) {
	spaces := strings.Repeat(" ", 50_000)
	one, _ := Data([]byte("["+spaces+"]"), true)
	object, _ := ParseBatch([]byte(`{"room":"a","data":[`+spaces+`]}`), Limits{})
	lines, _ := ParseLines([]byte(`{"room":"a","data":[`+spaces+`]}`), Limits{})
	for _, data := range [][]byte{one, object.publish[0].Data, lines.publish[0].Data} {
		if string(data) != "[]" || cap(data) > 16 {
			t.Errorf("%d bytes for %q", cap(data), data)
		}
	}
}

// A message of a batch costs the memory that it will live in, and nothing else.
func TestParseAllocates(t *testing.T) {
	lines := []byte(strings.Repeat(`{"room":"room","data":{"text":"hello"}}`+"\n", 100))
	array := []byte("[" + strings.TrimSuffix(strings.Repeat(`{"room":"room","data":{"text":"hello"}},`, 100), ",") + "]")
	for name, parse := range map[string]func() (Batch, *codes.Error){
		"lines": func() (Batch, *codes.Error) { return ParseLines(lines, Limits{}) },
		"array": func() (Batch, *codes.Error) { return ParseBatch(array, Limits{}) },
	} {
		n := testing.AllocsPerRun(20, func() {
			b, e := parse()
			if e != nil || b.Len() != 100 {
				t.Fatal(e)
			}
			b.Free()
		})
		if n > 110 {
			t.Errorf("%s: %v allocations for 100 messages", name, n)
		}
	}
}

func BenchmarkParseLines(b *testing.B) {
	for _, rooms := range []int{1, 100} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			var body []byte
			for i := range 100 {
				body = fmt.Appendf(body, `{"room":"room-%d","key":"key-%d","data":{"text":"%s","n":%d}}`+"\n", i%rooms, i, strings.Repeat("x", 100), i)
			}
			b.ReportAllocs()
			for b.Loop() {
				if batch, e := ParseLines(body, Limits{}); e != nil || batch.Len() != 100 {
					b.Fatal(e)
				}
			}
		})
	}
}
