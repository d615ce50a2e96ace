package hub

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseCursor(t *testing.T) {
	at := func(room, epoch string, offset uint64, id, mark string) RoomPosition {
		return RoomPosition{Room: room, Position: Position{Epoch: epoch, Offset: offset, ID: id}, Mark: mark}
	}
	tests := []struct {
		text  string
		rooms string
		want  Cursor // nil: ErrBadCursor
	}{
		{"k3x9.42.q7f2", "lobby", Cursor{at("lobby", "k3x9", 42, "q7f2", "")}},
		{"lobby=k3x9.42.q7f2", "lobby", Cursor{at("lobby", "k3x9", 42, "q7f2", "")}},
		{"lobby=k3x9.42.q7f2.m1", "lobby", Cursor{at("lobby", "k3x9", 42, "q7f2", "m1")}},
		{"0", "lobby", Cursor{{Room: "lobby"}}},
		{"0.m1", "lobby", Cursor{{Room: "lobby", Mark: "m1"}}},
		{"a=0,b=x.1.y", "a,b", Cursor{{Room: "a"}, at("b", "x", 1, "y", "")}},
		{"b=x.1.y,a=0", "a,b", Cursor{at("b", "x", 1, "y", ""), {Room: "a"}}},
		{"a=0,left=x.1.y", "a,joined", Cursor{{Room: "a"}}},
		{"left=x.1.y", "joined", Cursor{}},
		{"a=x.9007199254740991.y", "a", Cursor{at("a", "x", MaxOffset, "y", "")}},

		{"", "a", nil},
		{"now", "a", nil},
		{"0", "a,b", nil},
		{"a", "a", nil},
		{"a=", "a", nil},
		{"a=0,", "a", nil},
		{",a=0", "a", nil},
		{"a=0,a=0", "a", nil},
		{"b=0,b=0", "a", nil},
		{"a b=0", "a", nil},
		{"..=0", "a", nil},
		{"a=x.1", "a", nil},
		{"a=x.1.y.z.w", "a", nil},
		{"a=x.01.y", "a", nil},
		{"a=x.0.y", "a", nil},
		{"a=x.-1.y", "a", nil},
		{"a=x.+1.y", "a", nil},
		{"a=x.9007199254740992.y", "a", nil},
		{"a=x.99999999999999999999.y", "a", nil},
		{"a=X.1.y", "a", nil},
		{"a=x.1.", "a", nil},
		{"a=x.1.y.", "a", nil},
		{"a=0.", "a", nil},
		{"a=0.1.y", "a", Cursor{at("a", "0", 1, "y", "")}},
		{"a=" + strings.Repeat("x", 33) + ".1.y", "a", nil},
		{"a=x.1." + strings.Repeat("y", 25), "a", nil},
		{"a=x.1.y." + strings.Repeat("m", 33), "a", nil},
		{strings.Repeat("r", 201) + "=0", "a", nil},
	}
	for _, tt := range tests {
		got, err := ParseCursor(tt.text, strings.Split(tt.rooms, ","))
		if tt.want == nil {
			if !errors.Is(err, ErrBadCursor) || got != nil {
				t.Errorf("ParseCursor(%q) = %v, %v; want ErrBadCursor", tt.text, got, err)
			}
			continue
		}
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("ParseCursor(%q) = %v, %v; want %v", tt.text, got, err, tt.want)
		}
	}
}

// Cursors with more rooms than are compared one by one obey the same rules.
func TestParseLongCursor(t *testing.T) {
	c, rooms := longCursor(100)
	got, err := ParseCursor(c.String(), rooms)
	if err != nil || !slices.Equal(got, c) {
		t.Fatalf("got %d places, %v; want the same 100", len(got), err)
	}
	got, err = ParseCursor(c.String(), rooms[:10])
	if err != nil || !slices.Equal(got, c[:10]) {
		t.Fatalf("got %v, %v; want the first ten", got, err)
	}
	for _, twice := range []string{rooms[3], rooms[90]} {
		if _, err := ParseCursor(c.String()+","+twice+"=0", rooms[:10]); !errors.Is(err, ErrBadCursor) {
			t.Errorf("room %s twice: %v", twice, err)
		}
	}
}

func TestValidateRoom(t *testing.T) {
	for _, name := range []string{"a", "Lobby-1", "a.b_c~d:e@f", "...", strings.Repeat("x", 200)} {
		if err := ValidateRoom(name); err != nil {
			t.Errorf("ValidateRoom(%q) = %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a b", "a/b", "a,b", "a=b", "ä", "a\x00", "a%20b", strings.Repeat("x", 201)} {
		if err := ValidateRoom(name); !errors.Is(err, ErrBadRoom) {
			t.Errorf("ValidateRoom(%q) = %v, want ErrBadRoom", name, err)
		}
	}
}

// A cursor that is accepted has one spelling: what String writes is read back
// as the same cursor, and written again as the same text.
func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"0", "0.m", "k3x9.42.q7f2", "a=k3x9.42.q7f2.m1", "a=0,b=0.m,c=x.1.y", "a=x.9007199254740991.y", "a=,b", "x=1"} {
		f.Add(s, "a,b")
	}
	f.Fuzz(func(t *testing.T, text, roomList string) {
		var rooms []string
		for name := range strings.SplitSeq(roomList, ",") {
			if ValidateRoom(name) == nil {
				rooms = append(rooms, name)
			}
		}
		c, err := ParseCursor(text, rooms)
		if err != nil {
			if !errors.Is(err, ErrBadCursor) || c != nil {
				t.Fatalf("%q: %v with %v", text, err, c)
			}
			return
		}
		for _, p := range c {
			if !slices.Contains(rooms, p.Room) {
				t.Fatalf("%q: room %s was not asked for", text, p.Room)
			}
		}
		if len(c) == 0 {
			return
		}
		again, err := ParseCursor(c.String(), rooms)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%q was read as %v and written as %q, read as %v, %v", text, c, c, again, err)
		}
		if again.String() != c.String() {
			t.Fatalf("%q has two spellings: %q and %q", text, c, again)
		}
	})
}

func FuzzValidateRoom(f *testing.F) {
	for _, s := range []string{"", ".", "..", "lobby", "a,b", "a=b", "a/b", "\xff", strings.Repeat("x", 201)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		err := ValidateRoom(name)
		if err != nil {
			if !errors.Is(err, ErrBadRoom) {
				t.Fatalf("%q: %v", name, err)
			}
			return
		}
		// A valid name stands for itself in a path, a list and a cursor.
		if name == "" || len(name) > MaxRoomNameLen || strings.ContainsAny(name, "/,=%?#&+ \"\\") {
			t.Fatalf("%q was accepted", name)
		}
		c := Cursor{{Room: name, Position: Position{Epoch: "e", Offset: 1, ID: "i"}}}
		if got, err := ParseCursor(c.String(), []string{name}); err != nil || !slices.Equal(got, c) {
			t.Fatalf("%q does not survive a cursor: %v, %v", name, got, err)
		}
	})
}

func longCursor(n int) (Cursor, []string) {
	c, rooms := make(Cursor, n), make([]string, n)
	for i := range c {
		rooms[i] = fmt.Sprintf("room-number-%d", i)
		c[i] = RoomPosition{Room: rooms[i], Position: Position{Epoch: NewEpoch(1700000000000), Offset: uint64(1000 + i), ID: NewMessageID()}}
	}
	return c, rooms
}

func BenchmarkParseCursor(b *testing.B) {
	for _, n := range []int{1, 3, 100} {
		c, rooms := longCursor(n)
		text := c.String()
		b.Run(fmt.Sprintf("rooms=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseCursor(text, rooms); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
