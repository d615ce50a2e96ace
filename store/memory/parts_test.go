package memory

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
)

// The vectors are what OpenSSL's SIPHASH with 16 bytes of output makes of
// 00 01 02 ..., the first ones also in the reference implementation.
func TestSipHash128(t *testing.T) {
	var p [64]byte
	for i := range p {
		p[i] = byte(i)
	}
	k0, k1 := binary.LittleEndian.Uint64(p[:8]), binary.LittleEndian.Uint64(p[8:16])
	for n, want := range map[int]string{
		0:  "a3817f04ba25a8e66df67214c7550293",
		1:  "da87c1d86b99af44347659119b22fc45",
		7:  "a1f1ebbed8dbc153c0b84aa61ff08239",
		8:  "3b62a9ba6258f5610f83e264f31497b4",
		15: "5493e99933b0a8117e08ec0f97cfc3d9",
		16: "6ee2a4ca67b054bbfd3315bf85230577",
		63: "5150d1772f50834a503e069a973fbd7c",
	} {
		lo, hi := sipHash128(k0, k1, p[:n])
		got := hex.EncodeToString(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, lo), hi))
		if got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

func TestDueHeapAgainstASortedList(t *testing.T) {
	type timer struct{ due, index int }
	r := rand.New(rand.NewPCG(1, 2))
	var h dueHeap[*timer]
	h.moved = func(v *timer, i int) { v.index = i }
	var list []*timer
	for step := range 20_000 {
		// It grows to some thousand and empties again, by turns.
		if grow := step/4000%2 == 0; len(list) == 0 || grow && r.IntN(3) > 0 || !grow && r.IntN(3) == 0 {
			v := &timer{due: r.IntN(1000)}
			h.push(int64(v.due), v)
			list = append(list, v)
		} else {
			i := r.IntN(len(list))
			v := list[i]
			if r.IntN(2) == 0 {
				v.due = r.IntN(1000)
				h.fix(v.index, int64(v.due))
			} else {
				h.remove(v.index)
				if v.index != -1 {
					t.Fatalf("a removed value is at %d", v.index)
				}
				list = slices.Delete(list, i, i+1)
			}
		}
		if h.len() != len(list) {
			t.Fatalf("%d in the heap, %d in the list", h.len(), len(list))
		}
		if len(list) == 0 {
			if h.due() != never {
				t.Fatal("an empty heap is due")
			}
			continue
		}
		first := slices.MinFunc(list, func(a, b *timer) int { return cmp.Compare(a.due, b.due) })
		if h.due() != int64(first.due) || h.top().due != first.due || h.items[h.top().index].v != h.top() {
			t.Fatalf("step %d: the heap's first is due at %d, the list's at %d", step, h.due(), first.due)
		}
	}
	for h.len() > 0 {
		h.remove(0)
	}
	if cap(h.items) > 64 {
		t.Errorf("the empty heap has place for %d", cap(h.items))
	}
}

func TestRingAgainstASlice(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var g ring
	var want []*hub.Message
	for step := range 20_000 {
		grow := step/2000%2 == 0
		if len(want) == 0 || grow && r.IntN(5) > 0 || !grow && r.IntN(5) == 0 {
			m := new(hub.Message)
			g.push(held{m, int64(step)})
			want = append(want, m)
		} else {
			if g.pop().m != want[0] {
				t.Fatal("popped another message")
			}
			want = want[1:]
		}
		if g.len() != len(want) {
			t.Fatalf("length %d, want %d", g.len(), len(want))
		}
		if n := len(want); n > 0 {
			if i := r.IntN(n); g.at(i).m != want[i] {
				t.Fatalf("at %d of %d is another message", i, n)
			}
			if c := len(g.buf); c > minRing && n <= c/4 {
				t.Fatalf("%d messages take a ring of %d", n, c)
			}
		}
		for i := g.len(); i < len(g.buf); i++ {
			if g.at(i).m != nil {
				t.Fatal("a free place holds on to a message")
			}
		}
	}
}

func TestKeyTableGivesMemoryBack(t *testing.T) {
	var kt keyTable
	const n = 10_000
	for i := range uint64(n) {
		kt.put(keyHash{i, i}, keyEntry{expires: int64(i)}, false)
	}
	for now := int64(0); now < n-100; now += 7 {
		kt.sweep(now, n)
	}
	for i := uint64(n - 100); i < n; i++ {
		if e, ok := kt.entries[keyHash{i, i}]; !ok || e.expires != int64(i) {
			t.Fatalf("entry %d is gone", i)
		}
	}
	if kt.peak > n/4 {
		t.Errorf("the table for %d entries was made for %d", len(kt.entries), kt.peak)
	}
	if _, more := kt.sweep(n, n); more || kt.entries != nil || kt.due.len() != 0 {
		t.Errorf("%d entries and %d times are left", len(kt.entries), kt.due.len())
	}
}

// A key that expired and was used again must not be swept by its old time.
func TestKeyTableReplacedEntry(t *testing.T) {
	var kt keyTable
	h := keyHash{1, 1}
	kt.put(h, keyEntry{expires: 10}, false)
	kt.put(h, keyEntry{expires: 20}, true)
	if removed, more := kt.sweep(15, 10); removed != 0 || more || len(kt.entries) != 1 {
		t.Fatalf("removed %d, more %t", removed, more)
	}
	if removed, _ := kt.sweep(20, 10); removed != 1 || len(kt.entries) != 0 {
		t.Fatalf("removed %d at its time", removed)
	}
}

func TestAfterDoesNotOverflow(t *testing.T) {
	if after(5, never) != never || after(never, 1) != never || after(5, 3) != 8 || after(5, -3) != 2 {
		t.Error(after(5, never), after(never, 1), after(5, 3), after(5, -3))
	}
}

// Rooms of different shards hide a seam in the bytes that are hashed.
func TestHashKeyHasNoSeam(t *testing.T) {
	s := &Store{sip0: 1, sip1: 2}
	seen := map[keyHash][3]string{}
	for _, c := range [][3]string{
		{"a", "\x05xxxxx" + strings.Repeat("y", 91), "k"}, {"aa", "xxxxx", strings.Repeat("y", 91) + "k"},
		{"a", "b", "c"}, {"ab", "", "c"}, {"a", "", "bc"}, {"abc", "", ""}, {"", "abc", ""}, {"", "", "abc"}, {"a", "bc", ""},
		{"a", "\x01b", "c"}, {"a", "\x01", "bc"}, {"a\x01", "b", "c"},
		{"a", strings.Repeat("s", 500), "k"}, {"a", strings.Repeat("s", 499), "sk"},
	} {
		h := s.hashKey(&hub.Publish{Room: c[0], Subject: c[1], Key: c[2]})
		if other, ok := seen[h]; ok {
			t.Errorf("%.20q and %.20q are one key", c, other)
		}
		seen[h] = c
	}
}
