// Package rawjson checks JSON, and walks JSON that is known to be valid, without
// decoding it: what clients send is looked at where it lies, and copied once,
// when it is known to be a message.
package rawjson

import (
	"bytes"
	"encoding/json"
	"iter"
	"strconv"
)

// Trim removes the white space of JSON around a text.
func Trim(raw []byte) []byte { return bytes.Trim(raw, " \t\r\n") }

// Members are the members of an object, as they lie in raw: the name without
// quotes and escapes, the value without white space around it. raw is a valid
// object. A name that is there twice comes twice.
func Members(raw []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		s := Trim(raw)
		if len(s) < 2 || s[0] != '{' {
			return
		}
		s = skipSpace(s[1:])
		for len(s) > 0 && s[0] == '"' {
			n := valueLen(s)
			name, _ := String(s[:n])
			s = skipSpace(s[n:])
			if len(s) == 0 || s[0] != ':' {
				return
			}
			s = skipSpace(s[1:])
			n = valueLen(s)
			if n == 0 || !yield(name, s[:n:n]) {
				return
			}
			s = skipSpace(s[n:])
			if len(s) > 0 && s[0] == ',' {
				s = skipSpace(s[1:])
			}
		}
	}
}

// Elements are the elements of an array, as they lie in raw. raw is a valid
// array.
func Elements(raw []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		s := Trim(raw)
		if len(s) < 2 || s[0] != '[' {
			return
		}
		s = skipSpace(s[1:])
		for len(s) > 0 && s[0] != ']' {
			n := valueLen(s)
			if n == 0 || !yield(s[:n:n]) {
				return
			}
			s = skipSpace(s[n:])
			if len(s) > 0 && s[0] == ',' {
				s = skipSpace(s[1:])
			}
		}
	}
}

func skipSpace(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		s = s[1:]
	}
	return s
}

// valueLen is the length of the value that s begins with.
func valueLen(s []byte) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			for i++; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return min(i+1, len(s))
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // It closes what s lies in.
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// IsObject reports whether a valid value is an object.
func IsObject(raw []byte) bool { return first(raw) == '{' }

// IsArray reports whether a valid value is an array.
func IsArray(raw []byte) bool { return first(raw) == '[' }

// IsNull reports whether a valid value is null.
func IsNull(raw []byte) bool { return first(raw) == 'n' }

func first(raw []byte) byte {
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// String is the text of a JSON string; ok is false for any other value.
func String(raw []byte) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1]), true
	}
	return unescape(raw)
}

// unescape has a variable whose address is taken, and String must not allocate
// one for every string.
func unescape(raw []byte) (string, bool) {
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// Int is the value of a number that is written as a whole number.
func Int(raw []byte) (n int64, ok bool) {
	if c := first(raw); c != '-' && (c < '0' || c > '9') {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// Bool is the value of true and false.
func Bool(raw []byte) (value, ok bool) {
	switch first(raw) {
	case 't':
		return true, true
	case 'f':
		return false, true
	}
	return false, false
}
