package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

func publish(t *testing.T, s hub.Store, p hub.Publish) hub.Result {
	t.Helper()
	if p.ID == "" {
		p.ID = hub.NewMessageID()
	}
	if p.Data == nil {
		p.Data = []byte(`"x"`)
	}
	return s.Publish(context.Background(), []hub.Publish{p})[0]
}

func TestCloneGoesOnWhereItBegan(t *testing.T) {
	ctx := context.Background()
	c := newClock()
	s, err := memory.New(memory.Options{Clock: c.Now, HistoryMessages: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var at []hub.Position
	for range 5 {
		at = append(at, publish(t, s, hub.Publish{Room: "a"}).Position)
	}
	keyed := hub.Publish{Room: "b", Key: "k", KeyTTL: time.Hour, ID: "first"}
	first := publish(t, s, keyed)
	if err := s.Renew(ctx, []hub.Lease{{Room: "c", Client: "x", Holder: "n", TTL: time.Minute}, {Room: "c", Client: "y", Holder: "n", TTL: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		publish(t, s, hub.Publish{Room: fmt.Sprint("room", i)})
	}
	if _, err := s.Watch(ctx, "only watched", nil); err != nil {
		t.Fatal(err)
	}

	copied, err := s.Clone()
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	want := s.Stats()
	want.Rooms--
	if got := copied.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
	page, err := copied.Read(ctx, hub.ReadRequest{Room: "a", From: at[1], Limit: 10})
	if err != nil || page.Gap != nil || len(page.Messages) != 3 || page.Head != at[4] {
		t.Errorf("page %+v, %v", page, err)
	}
	if r := publish(t, copied, keyed); !r.Duplicate || r.Position != first.Position {
		t.Errorf("the key: %+v", r)
	}
	c.Advance(2 * time.Minute)
	if p, err := copied.Present(ctx, "c", 10); err != nil || p.Count != 1 || p.Members[0].Client != "y" {
		t.Errorf("present %+v, %v", p, err)
	}

	// The two go on apart: that is a fork.
	lost := publish(t, s, hub.Publish{Room: "a"}).Position
	other := publish(t, copied, hub.Publish{Room: "a"}).Position
	if lost.Epoch != other.Epoch || lost.Offset != other.Offset || lost.ID == other.ID {
		t.Fatalf("%v and %v", lost, other)
	}
	page, err = copied.Read(ctx, hub.ReadRequest{Room: "a", From: lost, Limit: 10})
	if err != nil || page.Gap == nil || *page.Gap != (hub.Gap{Room: "a", Reason: hub.GapFork, From: lost, To: other}) {
		t.Errorf("gap %+v, %v", page.Gap, err)
	}
	if page, _ = s.Read(ctx, hub.ReadRequest{Room: "a", From: lost, Limit: 10}); page.Gap != nil {
		t.Errorf("the original has a gap: %+v", page.Gap)
	}
}
