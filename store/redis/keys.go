package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"strconv"
	"strings"
)

// keyVersion is the version of the key format and of what the keys hold. Nodes
// that share a database must have the same one.
const keyVersion = "1"

// partitions is how many parts the rooms are spread over. It is the number of
// hash tags, and of channels.
const partitions = 256

// partitionOf is the partition of a room: CRC-32 (IEEE) of its name mod 256,
// which is at hand in every language.
func partitionOf(room string) int {
	return int(crc32.ChecksumIEEE([]byte(room)) % partitions)
}

// keys makes the names of keys. Every name is
//
//	prefix:version:{partition}:kind:rest
//
// and the prefix has no brace, so the first one ends it. Within the rest, parts
// that come from outside are escaped: the separators cannot occur in them.
type keys struct {
	// Set once: by partition, up to and including the colon before the kind.
	base [partitions]string
	// Set once: by partition.
	channel [partitions]string
	// Set once: matches all keys and channels, as ACL rules do.
	pattern string
}

func newKeys(prefix string) *keys {
	k := &keys{pattern: prefix + ":" + keyVersion + ":*"}
	for p := range k.base {
		k.base[p] = prefix + ":" + keyVersion + ":{" + strconv.Itoa(p) + "}:"
		k.channel[p] = k.base[p] + "watch"
	}
	return k
}

func (k *keys) head(p int, room string) string    { return k.base[p] + "head:" + room }
func (k *keys) stream(p int, room string) string  { return k.base[p] + "log:" + room }
func (k *keys) leases(p int, room string) string  { return k.base[p] + "leases:" + room }
func (k *keys) joined(p int, room string) string  { return k.base[p] + "joined:" + room }
func (k *keys) clients(p int, room string) string { return k.base[p] + "clients:" + room }

// fence is the key that tells the last call of a lane. The node is random and
// made at each start, so that two nodes cannot share one.
func (k *keys) fence(p int, node string, lane int) string {
	return k.base[p] + "fence:" + node + "/" + strconv.Itoa(lane)
}

// probe is a node's key, and its channel, for finding out what Redis takes.
func (k *keys) probe(p int, node string) string { return k.base[p] + "probe:" + node }

// maxPlainKey is the longest subject or idempotency key that is written out in
// a key's name; longer ones are hashed.
const maxPlainKey = 64

// dedupe is the key of an idempotency key. It is readable where subject and key
// are short and plain, and a hash where not, which '#' (never plain) tells.
func (k *keys) dedupe(p int, room, subject, key string) string {
	if plain(subject) && plain(key) && len(subject) <= maxPlainKey && len(key) <= maxPlainKey {
		return k.base[p] + "key:" + room + "/" + subject + "/" + key
	}
	h := sha256.New()
	// The length in front keeps ("ab", "c") and ("a", "bc") apart.
	h.Write([]byte(strconv.Itoa(len(subject)) + ":" + subject + key))
	var sum [sha256.Size]byte
	return k.base[p] + "key:" + room + "/#" + hex.EncodeToString(h.Sum(sum[:0])[:20])
}

// isPlain says which bytes stand for themselves in a key's name: those of room
// names (see hub.ValidateRoom).
func isPlain(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '~' || c == ':' || c == '@' || c == '-'
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isPlain(s[i]) {
			return false
		}
	}
	return true
}

// escape writes every byte that is not plain as %XX. A room's name never needs
// it; the store does not rely on that.
func escape(s string) string {
	if plain(s) {
		return s
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if isPlain(s[i]) {
			b.WriteByte(s[i])
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[s[i]>>4])
			b.WriteByte(digits[s[i]&15])
		}
	}
	return b.String()
}

// unescape undoes escape; ok is false for what escape cannot have written.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, plain(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || isPlain(byte(n)) || s[i+1:i+3] != strings.ToUpper(s[i+1:i+3]) {
				return "", false
			}
			b = append(b, byte(n))
			i += 2
		case isPlain(c):
			b = append(b, c)
		default:
			return "", false
		}
	}
	return string(b), true
}
