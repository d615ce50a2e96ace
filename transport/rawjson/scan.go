package rawjson

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep Value looks; one bit of its stack is one level.
const maxDepth = 64

// Value checks the JSON value that s begins with and returns its length;
// spaced says that there is white space between its parts. It is much faster
// than encoding/json because it knows only what is common: 0 means that
// encoding/json has to say whether, and why, this is not JSON. What Value takes
// encoding/json takes too, and as the same value. That strings are UTF-8 is for
// the caller to know.
func Value(s []byte) (n int, spaced bool) {
	var objects uint64 // bit 0 is the innermost level: 1 for an object
	depth, i := 0, 0
	for {
		// s[i:] should begin with a value.
		if i >= len(s) {
			return 0, false
		}
		switch c := s[i]; c {
		case '"':
			if i = stringEnd(s, i+1); i == 0 {
				return 0, false
			}
		case '{', '[':
			if depth == maxDepth {
				return 0, false
			}
			depth++
			objects <<= 1
			j := spaceEnd(s, i+1)
			spaced = spaced || j > i+1
			if i = j; i >= len(s) {
				return 0, false
			}
			if s[i] == c+2 { // "{}" and "[]": in ASCII the brackets are two apart
				i++
				depth--
				objects >>= 1
				break
			}
			if c == '{' {
				objects |= 1
				if i = nameEnd(s, i, &spaced); i == 0 {
					return 0, false
				}
			}
			continue
		case 't':
			if i = wordEnd(s, i, "true"); i == 0 {
				return 0, false
			}
		case 'f':
			if i = wordEnd(s, i, "false"); i == 0 {
				return 0, false
			}
		case 'n':
			if i = wordEnd(s, i, "null"); i == 0 {
				return 0, false
			}
		default:
			if i = numberEnd(s, i); i == 0 {
				return 0, false
			}
		}
		// A value has ended at i, and perhaps what it lies in.
		for {
			if depth == 0 {
				return i, spaced
			}
			j := spaceEnd(s, i)
			spaced = spaced || j > i
			if i = j; i >= len(s) {
				return 0, false
			}
			if s[i] == ',' {
				break
			}
			closing := byte(']')
			if objects&1 != 0 {
				closing = '}'
			}
			if s[i] != closing {
				return 0, false
			}
			i++
			depth--
			objects >>= 1
		}
		j := spaceEnd(s, i+1)
		spaced = spaced || j > i+1
		i = j
		if objects&1 != 0 {
			if i = nameEnd(s, i, &spaced); i == 0 {
				return 0, false
			}
		}
	}
}

// nameEnd is where the value of a member begins whose name is at s[i:]; 0 means
// that there is no such thing.
func nameEnd(s []byte, i int, spaced *bool) int {
	if i >= len(s) || s[i] != '"' {
		return 0
	}
	if i = stringEnd(s, i+1); i == 0 {
		return 0
	}
	j := spaceEnd(s, i)
	if j >= len(s) || s[j] != ':' {
		return 0
	}
	k := spaceEnd(s, j+1)
	if j > i || k > j+1 {
		*spaced = true
	}
	return k
}

// spaceEnd is where the white space at s[i:] ends.
func spaceEnd(s []byte, i int) int {
	for i < len(s) && s[i] <= ' ' && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

func wordEnd(s []byte, i int, word string) int {
	if end := i + len(word); end <= len(s) && string(s[i:end]) == word {
		return end
	}
	return 0
}

// stringEnd is where a string ends whose first quote is before s[i:]; 0 means
// that it is none.
func stringEnd(s []byte, i int) int {
	const ones = 0x0101010101010101
	for {
		// Eight bytes at a time while they mean nothing but themselves: the
		// highest bit is set of each byte that may be a quote, a backslash or a
		// control character, and rightly so of the first.
		for i+8 <= len(s) {
			x := binary.LittleEndian.Uint64(s[i:])
			quote, slash := x^(ones*'"'), x^(ones*'\\')
			special := ((quote - ones) &^ quote) | ((slash - ones) &^ slash) | ((x - ones*' ') &^ x)
			if special &= ones * 0x80; special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		for i < len(s) && s[i] != '"' && s[i] != '\\' && s[i] >= ' ' {
			i++
		}
		if i+1 >= len(s) {
			if i < len(s) && s[i] == '"' {
				return i + 1
			}
			return 0
		}
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			switch s[i+1] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i += 2
			case 'u':
				if i+6 > len(s) || !isHex(s[i+2]) || !isHex(s[i+3]) || !isHex(s[i+4]) || !isHex(s[i+5]) {
					return 0
				}
				i += 6
			default:
				return 0
			}
		default:
			return 0 // a control character
		}
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// numberEnd is where the number at s[i:] ends, 0 where there is none.
func numberEnd(s []byte, i int) int {
	if i < len(s) && s[i] == '-' {
		i++
	}
	start := i
	if i = digitsEnd(s, i); i == start || (s[start] == '0' && i > start+1) {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		start = i + 1
		if i = digitsEnd(s, start); i == start {
			return 0
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		start = i + 1
		if start < len(s) && (s[start] == '+' || s[start] == '-') {
			start++
		}
		if i = digitsEnd(s, start); i == start {
			return 0
		}
	}
	return i
}

func digitsEnd(s []byte, i int) int {
	for i < len(s) && '0' <= s[i] && s[i] <= '9' {
		i++
	}
	return i
}

// AppendCompact appends a valid value without the white space between its parts.
func AppendCompact(dst, value []byte) []byte {
	for i := 0; i < len(value); {
		start := i
		for i < len(value) && value[i] > ' ' {
			if value[i] == '"' {
				if i = stringEnd(value, i+1); i == 0 {
					i = len(value)
				}
			} else {
				i++
			}
		}
		dst = append(dst, value[start:i]...)
		if i = spaceEnd(value, i); i == start {
			i++ // not white space of JSON: no valid value has it
		}
	}
	return dst
}

// SkipSpace is s without the white space that it begins with.
func SkipSpace(s []byte) []byte { return s[spaceEnd(s, 0):] }
