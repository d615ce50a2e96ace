package memory

import (
	"encoding/binary"

	"github.com/culvertd/culvert/hub"
)

// keyHash stands for (room, subject, key): 128 bits of a keyed hash.
type keyHash struct{ lo, hi uint64 }

// maxIDLen is the longest message id, the limit of a position's text form.
const maxIDLen = 24

// keyEntry is what a key remembers. It holds no pointer, so that a million of
// them cost the garbage collector nothing. The epoch is the room's: a room
// is not forgotten before its keys.
type keyEntry struct {
	fingerprint hub.Fingerprint
	offset      uint64 // 0: ephemeral
	time        int64  // Message.Time
	expires     int64  // instant.at; alive before it
	id          [maxIDLen]byte
	idLen       uint8
}

// keyTable is a shard's idempotency keys, guarded by the shard's mu.
type keyTable struct {
	entries map[keyHash]keyEntry
	// due has one element for each entry. Its time is the entry's, or earlier
	// where an expired entry was replaced in place.
	due dueHeap[keyHash]
	// peak is the most entries since the map was made: Go's maps do not shrink.
	peak int
}

// put stores an entry; known says that the hash has an (expired) entry already.
func (t *keyTable) put(h keyHash, e keyEntry, known bool) {
	if t.entries == nil {
		t.entries = make(map[keyHash]keyEntry)
	}
	t.entries[h] = e
	t.peak = max(t.peak, len(t.entries))
	if !known {
		t.due.push(e.expires, h)
	}
}

// sweep removes at most limit expired entries, and says how many it removed and
// whether there are more.
func (t *keyTable) sweep(now int64, limit int) (removed int, more bool) {
	for range limit {
		if t.due.due() > now {
			break
		}
		h := t.due.top()
		if expires := t.entries[h].expires; expires > now {
			t.due.fix(0, expires)
			continue
		}
		t.due.remove(0)
		delete(t.entries, h)
		removed++
	}
	t.shrink()
	return removed, t.due.due() <= now
}

func (t *keyTable) shrink() {
	switch n := len(t.entries); {
	case n == 0:
		t.entries, t.peak = nil, 0
	case t.peak >= 1024 && n <= t.peak/4:
		entries := make(map[keyHash]keyEntry, n)
		for h, e := range t.entries {
			entries[h] = e
		}
		t.entries, t.peak = entries, n
	}
}

// hashKey hashes a publish's (room, subject, key). Each part but the last goes
// in with its length, so that no two triples make the same bytes.
func (s *Store) hashKey(p *hub.Publish) keyHash {
	var stack [256]byte
	b := stack[:0]
	b = binary.AppendUvarint(b, uint64(len(p.Room)))
	b = append(b, p.Room...)
	b = binary.AppendUvarint(b, uint64(len(p.Subject)))
	b = append(b, p.Subject...)
	b = append(b, p.Key...)
	lo, hi := sipHash128(s.sip0, s.sip1, b)
	return keyHash{lo, hi}
}
