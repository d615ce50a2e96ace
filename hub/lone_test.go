package hub_test

import (
	"testing"
	"testing/synctest"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// The frames for a room's only reader are not kept, whether or not its
// connection takes them at once; a second reader gets the same messages, and its
// frames are.
func TestOnlyReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		quick, slow := newBufConn(true, 0), newBufConn(true, 7)
		r.subscribe(quick, hub.SubscriberOptions{}, now("a")...)
		r.subscribe(slow, hub.SubscriberOptions{}, now("b")...)
		for _, room := range []string{"a", "b"} {
			one(t, r.Hub, room, "1")
		}
		synctest.Wait()
		for _, room := range []string{"a", "b"} {
			one(t, r.Hub, room, "2")
			one(t, r.Hub, room, "3")
		}
		synctest.Wait()
		want(t, quick, msgs("a", 1, 3)...)
		for slow.read(3) != "" {
			synctest.Wait()
		}
		want(t, slow, msgs("b", 1, 3)...)

		held := r.Stats().HeldBytes
		late := newBufConn(true, 0)
		s := r.subscribe(late, hub.SubscriberOptions{}, hub.Subscription{Room: "a", Start: hub.Start{Kind: hub.StartOldest}})
		synctest.Wait()
		want(t, late, msgs("a", 1, 3)...)
		kept := len("a msg 1 1\n") * 3
		if more := r.Stats().HeldBytes - held; more != int64(kept) {
			t.Errorf("%d bytes are held for the second reader, want %d", more, kept)
		}
		one(t, r.Hub, "a", "4")
		synctest.Wait()
		want(t, quick, msgs("a", 1, 4)...)
		want(t, late, msgs("a", 1, 4)...)
		s.End(hub.End{})
	})
}
