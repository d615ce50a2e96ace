package hub

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
)

// Position is a place in a room's order: directly after the message that has
// this epoch, offset and id. The zero Position is the place before every
// message that a room ever had.
type Position struct {
	Epoch  string
	Offset uint64
	ID     string
}

// IsZero reports whether p is the place before everything.
func (p Position) IsZero() bool { return p == Position{} }

// MaxOffset is the largest offset, 2^53-1: what a JavaScript number holds
// exactly.
const MaxOffset = 1<<53 - 1

// Limits of the parts of a position's text form. Epochs made here have 22
// characters and ids 10; what is accepted is a little wider so that they may
// grow without breaking older nodes.
const (
	maxEpochLen = 32
	maxIDLen    = 24
	maxMarkLen  = 32
)

// String is the text form: "epoch.offset.id", or "0" for the zero Position.
func (p Position) String() string {
	if p.IsZero() {
		return "0"
	}
	return string(p.append(nil))
}

func (p Position) append(dst []byte) []byte {
	if p.IsZero() {
		return append(dst, '0')
	}
	dst = append(dst, p.Epoch...)
	dst = append(dst, '.')
	dst = strconv.AppendUint(dst, p.Offset, 10)
	dst = append(dst, '.')
	return append(dst, p.ID...)
}

// parsePosition reads "0", "0.mark", "epoch.offset.id" or
// "epoch.offset.id.mark".
func parsePosition(s string) (p Position, mark string, err error) {
	bad := func(what string) (Position, string, error) {
		return Position{}, "", fmt.Errorf("%w: %s", ErrBadCursor, what)
	}
	if s == "0" {
		return Position{}, "", nil
	}
	if rest, ok := strings.CutPrefix(s, "0."); ok && strings.Count(s, ".") == 1 {
		if !isToken(rest, maxMarkLen) {
			return bad("the mark must be 1-32 characters of 0-9a-z")
		}
		return Position{}, rest, nil
	}
	var ok bool
	var offset string
	if p.Epoch, s, ok = strings.Cut(s, "."); !ok {
		return bad("a position is epoch.offset.id, or 0")
	}
	if offset, s, ok = strings.Cut(s, "."); !ok {
		return bad("a position is epoch.offset.id, or 0")
	}
	if p.ID, mark, ok = strings.Cut(s, "."); ok && !isToken(mark, maxMarkLen) {
		return bad("the mark must be 1-32 characters of 0-9a-z")
	}
	if !isToken(p.Epoch, maxEpochLen) {
		return bad("the epoch must be 1-32 characters of 0-9a-z")
	}
	if !isToken(p.ID, maxIDLen) {
		return bad("the id must be 1-24 characters of 0-9a-z")
	}
	// One spelling per position: no sign, no leading zero, no zero.
	if offset == "" || offset[0] < '1' || offset[0] > '9' {
		return bad("the offset must be a decimal number from 1")
	}
	p.Offset, err = strconv.ParseUint(offset, 10, 64)
	if err != nil || p.Offset > MaxOffset {
		return bad("the offset must be a decimal number up to 9007199254740991")
	}
	return p, mark, nil
}

func isToken(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

// NewMessageID makes the short random id of a message: 51 random bits in 10
// characters. It tells messages apart and keeps nothing secret, so the runtime's
// own generator is good enough, and many times faster than the system's.
func NewMessageID() string { return newMessageIDs(1) }

const messageIDLen = 10

// newMessageIDs makes n ids, one behind the other, in one piece of memory, which
// lives as long as one of them does: n is at most idsTogether.
func newMessageIDs(n int) string {
	var b [idsTogether * messageIDLen]byte
	for i := range n {
		put36(b[i*messageIDLen:][:messageIDLen], mathrand.Uint64()>>13)
	}
	return string(b[:n*messageIDLen])
}

// idsTogether fill a piece of memory of a size that the allocator has.
const idsTogether = 8

// NewEpoch makes the id of one life of a room's history, born at unixMilli by
// the store's clock: 9 characters of time, so that epochs sort by birth, and
// 13 characters holding 64 random bits.
func NewEpoch(unixMilli int64) string {
	var b [8]byte
	rand.Read(b[:])
	return encode36(uint64(max(unixMilli, 0)), 9) + encode36(binary.LittleEndian.Uint64(b[:]), 13)
}

// EpochBirth is the time of birth in an epoch made by NewEpoch, in Unix
// milliseconds; ok is false for a text that NewEpoch cannot have made.
func EpochBirth(epoch string) (unixMilli int64, ok bool) {
	if len(epoch) != 22 {
		return 0, false
	}
	n, err := strconv.ParseUint(epoch[:9], 36, 63)
	return int64(n), err == nil
}

// encode36 writes n in base 36, zero-padded to width.
func encode36(n uint64, width int) string {
	var b [13]byte
	put36(b[:width], n)
	return string(b[:width])
}

func put36(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = base36[n%36]
		n /= 36
	}
}
