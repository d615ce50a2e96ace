package storetest

import (
	"fmt"
	"strings"

	"github.com/culvertd/culvert/hub"
)

// alike are room names that a careless key format or pattern mixes up.
var alike = []string{
	"a", "A", "a:", ":a", "a:b", "a:b:c", "a:b:", "a@b", "a~b", "a-b", "a.b", "a..b", ".a", "a.", "...", "~", "-", "@", ":", "_",
	"a_b", "a:keys", "a:meta", "a:stream", "meta", "a:1", "1", "0", "01", "1:a", "v1", "v1:a", "culvert", "culvert:a", "a~", "a~~", "a~7E",
	strings.Repeat("a", hub.MaxRoomNameLen), strings.Repeat("a", hub.MaxRoomNameLen-1), strings.Repeat(":", hub.MaxRoomNameLen),
}

// hostileKeys are idempotency keys that a careless one takes for another.
var hostileKeys = []string{
	"k", "K", "k ", " k", "k\x00", "\x00k", "\x00", "\xff\xfe\x80", "k\n", "k\r\n", "k:k", ":", "k|k", "k/k", "{k}", "}{", "*", "?", "[a-z]",
	"\u00e9", "e\u0301", strings.Repeat("k", 256), strings.Repeat("k", 255), strings.Repeat("\x00", 256), "1", "1.0", "01", "nil", "%s", "a:b", "\"k\"", "\\k",
}

var nameLaws = []law{
	{"RoomsThatLookAlike", func(e *env) {
		s := e.open(Options{})
		at := map[string]hub.Position{}
		watches := map[string]*recorder{}
		for _, room := range alike {
			if err := hub.ValidateRoom(room); err != nil {
				e.Fatal(err)
			}
			watches[room], _ = e.watch(s, room)
		}
		for _, room := range alike {
			at[room] = e.must(e.keyed(room, "u", "k", room)).Position
			l := hub.Lease{Room: room, Client: room, Holder: "n", TTL: e.span(ample)}
			e.renew(l)
		}
		heads, err := s.Heads(e.ctx, alike)
		if err != nil {
			e.Fatal(err)
		}
		for i, room := range alike {
			if heads[i] != at[room] || at[room].Offset != 1 {
				e.Errorf("room %q: head %v, want %v", room, heads[i], at[room])
			}
			page := e.all(room)
			e.samePositions(room, positions(page.Messages), []hub.Position{at[room]})
			if string(page.Messages[0].Data) != string(quote(room)) || page.Messages[0].Room != room {
				e.Errorf("room %q holds %+v", room, page.Messages[0])
			}
			if p := e.present(room, 10); p.Count != 1 || p.Members[0].Client != room {
				e.Errorf("room %q: present %+v", room, p)
			}
			w := watches[room]
			e.wantHeard(w, at[room].ID)
			if msgs := w.heard(); len(msgs) != 1 || msgs[0].Room != room {
				e.Errorf("room %q heard %d messages, %+v", room, len(msgs), msgs[0])
			}
		}
	}},
	{"HostileKeys", func(e *env) {
		e.open(Options{})
		results := map[string]hub.Result{}
		for _, k := range hostileKeys {
			results[k] = e.must(e.keyed("room", "u", k, k))
		}
		for _, k := range hostileKeys {
			want := results[k]
			want.Duplicate = true
			if r := e.try(e.keyed("room", "u", k, k)); r != want {
				e.Errorf("key %q: %+v, want %+v", k, r, want)
			}
		}
	}},
	{"NoSeamBetweenRoomSubjectAndKey", func(e *env) {
		// The same bytes, cut at different places, are different keys.
		e.open(Options{})
		seen := map[string]hub.Result{}
		for _, sep := range []string{"", ":", "|", "\x00", ".", "~", "/"} {
			text := "a" + sep + "b" + sep + "c" + sep + "d"
			for i := 1; i < len(text); i++ {
				for j := i; j < len(text); j++ {
					p := e.keyed(text[:i], text[i:j], text[j:], "x")
					if hub.ValidateRoom(p.Room) != nil {
						continue
					}
					id := fmt.Sprintf("%q %q %q", p.Room, p.Subject, p.Key)
					if _, ok := seen[id]; ok {
						continue
					}
					p.Fingerprint = fingerprint(id, false)
					seen[id] = e.must(p)
				}
			}
		}
	}},
	{"NoSeamAtALength", func(e *env) {
		// Formats that write a length before, or an end after, each part: one
		// triple whose bytes would be another's if one of the lengths were
		// left out.
		e.open(Options{})
		seen := map[[3]string]bool{}
		for i, pair := range [][2][3]string{
			{{"a", "\x05xxxxx" + strings.Repeat("y", 91), "k"}, {"aa", "xxxxx", strings.Repeat("y", 91) + "k"}},
			{{"a", "1:b", "c"}, {"a", "", "b1:c"}},
			{{"a", "b", "1:c"}, {"a", "b1", ":c"}},
			{{"a", "b\x00", "c"}, {"a", "b", "\x00c"}},
			{{"a", "b\x01", "c"}, {"a", "b", "\x01c"}},
			{{"a", "\x00", "\x00"}, {"a", "", "\x00\x00"}},
			{{"a", "\\", ":"}, {"a", "", "\\:"}},
			{{"a:b", "c", "d"}, {"a", "b:c", "d"}},
			{{"a", "b%3Ac", "d"}, {"a", "b:c", "d"}},
			{{"a~3Ab", "c", "d"}, {"a:b", "c", "d"}},
		} {
			for j, triple := range pair {
				if seen[triple] {
					continue
				}
				seen[triple] = true
				e.must(e.keyed(triple[0], triple[1], triple[2], fmt.Sprint(i, j)))
			}
		}
	}},
	{"HostileSubjects", func(e *env) {
		e.open(Options{})
		for _, subject := range hostileKeys {
			e.must(e.keyed("room", subject, "k", subject))
		}
		for i, subject := range hostileKeys {
			if r := e.try(e.keyed("room", subject, "k", subject)); !r.Duplicate || r.Position.Offset != uint64(i+1) {
				e.Errorf("subject %q: %+v", subject, r)
			}
		}
	}},
}
