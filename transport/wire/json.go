package wire

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, as in encoding/json.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		// Four bytes hold every encoded rune; the conversion of so few bytes
		// does not allocate.
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			i++
			start = i
			continue
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// isString reports whether data, compact valid JSON, is a string.
func isString(data []byte) bool { return len(data) >= 2 && data[0] == '"' }

// appendBare appends data as the bare form shows it: a string without quotes
// and escapes, anything else as it is. data is compact valid JSON.
func appendBare(dst, data []byte) []byte {
	if !isString(data) {
		return append(dst, data...)
	}
	s := data[1 : len(data)-1]
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 || i+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			var r rune
			r, s = unescapeRune(s)
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

// unescapeRune reads what follows a "\u": four hexadecimal digits, and the
// second half of a surrogate pair where there is one. Half a pair alone has no
// place in UTF-8 and becomes U+FFFD.
func unescapeRune(s []byte) (r rune, rest []byte) {
	first, ok := hex4(s)
	if !ok {
		return utf8.RuneError, s
	}
	s = s[4:]
	if !utf16.IsSurrogate(first) {
		return first, s
	}
	if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
		if second, ok := hex4(s[2:]); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r, s[6:]
			}
		}
	}
	return utf8.RuneError, s
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendText appends a field `,"name":"text"` whose text needs no escaping
// (room names, cursors, ids, codes).
func appendText[S string | []byte](dst []byte, field string, text S) []byte {
	dst = append(dst, field...)
	dst = append(dst, '"')
	dst = append(dst, text...)
	return append(dst, '"')
}

// appendInt appends a field `,"name":n`.
func appendInt(dst []byte, field string, n int64) []byte {
	dst = append(dst, field...)
	return strconv.AppendInt(dst, n, 10)
}
