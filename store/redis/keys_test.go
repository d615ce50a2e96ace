package redis

import (
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	for _, s := range []string{"", "room", "a:b@c~d.e_f-g", "a b", "%", "%41", "\x00\xff", "é", "{1}", "a/b#c|d\n"} {
		e := escape(s)
		if !plain(strings.ReplaceAll(e, "%", "")) {
			t.Errorf("%q became %q", s, e)
		}
		if back, ok := unescape(e); !ok || back != s {
			t.Errorf("%q became %q and then %q, %t", s, e, back, ok)
		}
	}
	for _, s := range []string{"%", "%4", "%41", "%zz", "%2f", "a b", "%2F%"} {
		if back, ok := unescape(s); ok {
			t.Errorf("%q, which escape cannot have written, became %q", s, back)
		}
	}
}

// TestKeysApart: no two different things have the same key.
func TestKeysApart(t *testing.T) {
	k := newKeys("p")
	long := strings.Repeat("x", maxPlainKey+1)
	names := []string{"", "a", "a/b", "b", "a/b/c", "/", "#", "a:b", "head:a", "{0}", "%", long, long + "y", "\x00", "1:a", "#2", "watch"}
	seen := map[string]string{}
	note := func(key, what string) {
		t.Helper()
		if was, ok := seen[key]; ok {
			t.Errorf("%s and %s are both %q", was, what, key)
		}
		seen[key] = what
		if strings.Count(key, "{") != 1 || !strings.HasPrefix(key, "p:"+keyVersion+":{") {
			t.Errorf("%s has the key %q", what, key)
		}
	}
	for _, room := range names {
		p, r := partitionOf(room), escape(room)
		note(k.head(p, r), "head "+room)
		note(k.stream(p, r), "stream "+room)
		note(k.leases(p, r), "leases "+room)
		note(k.joined(p, r), "joined "+room)
		note(k.clients(p, r), "clients "+room)
		for _, subject := range names {
			for _, key := range names {
				note(k.dedupe(p, r, subject, key), "key "+room+"|"+subject+"|"+key)
			}
		}
	}
	for p := range partitions {
		note(k.channel[p], "channel")
	}
	note(k.probe(0, "n"), "probe")
	note(k.fence(0, "n", 0), "fence")
	if n := len(k.dedupe(0, strings.Repeat("r", 200), strings.Repeat("s", 256), strings.Repeat("k", 256))); n > 300 {
		t.Errorf("the longest key has %d bytes", n)
	}
}

func TestPartitionIsStable(t *testing.T) {
	// Nodes of all versions must agree: python3 -c 'import zlib; print(zlib.crc32(b"lobby") % 256)'
	for room, want := range map[string]int{"": 0, "lobby": 247, "a": 67, "news": 80} {
		if got := partitionOf(room); got != want {
			t.Errorf("room %q is in partition %d, want %d", room, got, want)
		}
	}
}
