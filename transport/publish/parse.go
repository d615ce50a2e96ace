package publish

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/rawjson"
)

// ParseBatch reads one object or an array of objects, in the form of Item. A
// body that is not of this form is refused as a whole.
func ParseBatch(body []byte, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	if e := checkText(body); e != nil {
		return Batch{}, e
	}
	if b, ok := scanBatch(body, "", l); ok {
		return b, nil
	}
	return decodeBatch(body, l)
}

// ParseArray reads an array of objects that is valid UTF-8 JSON.
func ParseArray(text []byte, defaultRoom string, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	if rawjson.IsArray(text) {
		if b, ok := scanBatch(text, defaultRoom, l); ok {
			return b, nil
		}
	}
	return decodeArray(text, defaultRoom, l)
}

// ParseLines reads one object a line; empty lines are skipped.
func ParseLines(body []byte, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	if e := checkText(body); e != nil {
		return Batch{}, e
	}
	s := scanner{limits: l}
	s.expect(bytes.Count(body, []byte{'\n'}) + 1)
	for line := range bytes.Lines(body) {
		line = rawjson.SkipSpace(line)
		if !rawjson.IsObject(line) && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if s.batch.Len() == l.Batch {
			return Batch{}, tooMany(l.Batch)
		}
		if n := s.item(line); n > 0 && len(rawjson.SkipSpace(line[n:])) == 0 {
			s.add()
			continue
		}
		it, e := decodeLine(line)
		if e != nil {
			return Batch{}, e
		}
		s.batch.Add(it, "", l)
	}
	return s.batch, nil
}

func checkText(body []byte) *codes.Error {
	if len(body) == 0 {
		return codes.New(codes.EmptyBody, "there is nothing to publish").WithAllowed(formAllowed)
	}
	if !utf8.Valid(body) {
		return codes.New(codes.BadUTF8, "the body is not UTF-8")
	}
	return nil
}

const formAllowed = `{"room","data","key","ephemeral"} objects: one, an array of them, or one a line with application/x-ndjson`

func tooMany(limit int) *codes.Error {
	return codes.Newf(codes.BatchTooLarge, "over %d messages; nothing was published", limit).WithAllowed("1-" + strconv.Itoa(limit) + " messages")
}

// scanBatch reads one object or an array of them in one pass. Where it is not
// ok, this is not of the form, or there are too many, or it is of the form in a
// way that only encoding/json knows: decode.go has the last word.
func scanBatch(text []byte, defaultRoom string, l Limits) (b Batch, ok bool) {
	s := scanner{defaultRoom: defaultRoom, limits: l}
	text = rawjson.SkipSpace(text)
	if !rawjson.IsArray(text) {
		n := s.item(text)
		if n == 0 || len(rawjson.SkipSpace(text[n:])) > 0 {
			return Batch{}, false
		}
		s.add()
		return s.batch, true
	}
	for rest := rawjson.SkipSpace(text[1:]); ; {
		n := s.item(rest)
		if n == 0 {
			// Only an empty array ends where an element could begin.
			empty := s.batch.Len() == 0 && len(rest) > 0 && rest[0] == ']' && len(rawjson.SkipSpace(rest[1:])) == 0
			return s.batch, empty
		}
		if s.batch.Len() == l.Batch {
			return Batch{}, false
		}
		if s.batch.publish == nil {
			s.expect(len(text)/n + 1) // as if all were like the first
		}
		s.add()
		rest = rawjson.SkipSpace(rest[n:])
		if len(rest) == 0 || (rest[0] != ',' && rest[0] != ']') {
			return Batch{}, false
		}
		last := rest[0] == ']'
		rest = rawjson.SkipSpace(rest[1:])
		if last {
			return s.batch, len(rest) == 0
		}
	}
}

// scanner finds the fields of items where they lie, and collects a batch.
type scanner struct {
	batch       Batch
	defaultRoom string
	limits      Limits

	// The fields of the item that was read last. A batch often names one room,
	// and then has its name once.
	fields struct {
		room, key       string
		hasRoom, hasKey bool
		ephemeral       bool
		data            []byte // where it lies
		spaced          bool
	}
	lastRoom string
}

// expect makes place for so many messages.
func (s *scanner) expect(n int) { s.batch.expect(min(n, s.limits.Batch)) }

// item reads the object that text begins with and returns its length, 0 where
// encoding/json has to read it.
func (s *scanner) item(text []byte) (length int) {
	f := &s.fields
	f.hasRoom, f.hasKey, f.ephemeral, f.data = false, false, false, nil
	if !rawjson.IsObject(text) {
		return 0
	}
	rest := rawjson.SkipSpace(text[1:])
	if len(rest) > 0 && rest[0] == '}' {
		return len(text) - len(rest) + 1
	}
	for {
		n := 0
		if len(rest) > 0 && rest[0] == '"' {
			n, _ = rawjson.Value(rest)
		}
		if n == 0 {
			return 0
		}
		name := rest[1 : n-1]
		rest = rawjson.SkipSpace(rest[n:])
		if len(rest) == 0 || rest[0] != ':' {
			return 0
		}
		rest = rawjson.SkipSpace(rest[1:])
		n, spaced := rawjson.Value(rest)
		if n == 0 || !s.field(name, rest[:n:n], spaced) {
			return 0
		}
		rest = rawjson.SkipSpace(rest[n:])
		if len(rest) == 0 {
			return 0
		}
		switch rest[0] {
		case '}':
			return len(text) - len(rest) + 1
		case ',':
			rest = rawjson.SkipSpace(rest[1:])
		default:
			return 0
		}
	}
}

// field takes one field; false means that encoding/json has to.
func (s *scanner) field(name, value []byte, spaced bool) (ok bool) {
	f := &s.fields
	switch string(name) {
	case "data":
		f.data, f.spaced = value, spaced
		return true
	case "room":
		if f.room, f.hasRoom, ok = text(value, s.lastRoom); strings.IndexByte(f.room, '\\') < 0 {
			s.lastRoom = f.room
		}
		return ok
	case "key":
		f.key, f.hasKey, ok = text(value, "")
		return ok
	case "ephemeral":
		if rawjson.IsNull(value) {
			return true // as if it were not there, even after another one
		}
		f.ephemeral, ok = rawjson.Bool(value)
		return ok
	}
	return !mayMean(name)
}

// text is a string, or null, which is as if it were not there. last is a string
// without a backslash that it may well be.
func text(value []byte, last string) (s string, given, ok bool) {
	switch {
	case rawjson.IsNull(value):
		return "", false, true
	case len(value) == len(last)+2 && value[0] == '"' && string(value[1:len(value)-1]) == last:
		return last, true, true
	}
	s, ok = rawjson.String(value)
	return s, ok, ok
}

// mayMean reports whether encoding/json may take a name for one of the fields'
// that is written otherwise: in capitals, with escapes, with letters that fold
// to ASCII's.
func mayMean(name []byte) bool {
	for _, c := range name {
		if c == '\\' || c >= utf8.RuneSelf {
			return true
		}
	}
	switch len(name) {
	case len("key"), len("room"), len("ephemeral"):
		return strings.EqualFold(string(name), "key") || strings.EqualFold(string(name), "room") ||
			strings.EqualFold(string(name), "data") || strings.EqualFold(string(name), "ephemeral")
	}
	return false
}

// add adds the item that was read last.
func (s *scanner) add() {
	f := &s.fields
	it := Item{Data: f.data, Ephemeral: f.ephemeral}
	if f.hasRoom {
		it.Room = &f.room
	}
	if f.hasKey {
		it.Key = &f.key
	}
	if f.spaced && f.data != nil {
		it.Data = own(f.data, true)
	}
	before := len(s.batch.publish)
	s.batch.Add(&it, s.defaultRoom, s.limits)
	if len(s.batch.publish) > before && !f.spaced {
		p := &s.batch.publish[before]
		p.Data = own(p.Data, false) // the body is used again
	}
}
