package hub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// nearConn takes nothing before somebody has looked at it.
type nearConn struct {
	*bufConn
	near atomic.Bool
}

func (c *nearConn) Near() { c.near.Store(true) }

func (c *nearConn) TryWrite(p []byte) (int, error) {
	if !c.near.Load() {
		return 0, errors.New("nobody looked")
	}
	return c.bufConn.TryWrite(p)
}

// Before a round writes to a connection it has looked at its memory.
func TestLooksBeforeWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		var conns [20]*nearConn
		for i := range conns {
			conns[i] = &nearConn{bufConn: newBufConn(true, 0)}
			s, err := r.NewSubscriber(hub.SubscriberOptions{Conn: conns[i], Transport: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Subscribe(t.Context(), now("a")); err != nil {
				t.Fatal(err)
			}
			s.Start()
		}
		one(t, r.Hub, "a", "1")
		synctest.Wait()
		for _, c := range conns {
			want(t, c.bufConn, msgs("a", 1, 1)...)
		}
	})
}

// A worker takes small rooms together and large ones one by one: in whatever
// order they come, every reader gets everything, in order.
func TestSmallAndLargeRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{Workers: 2}, memory.Options{})
		const rooms, messages = 60, 20
		name := func(i int) string { return fmt.Sprint("room", i) }
		var conns [rooms][]*bufConn
		for i := range conns {
			n := 1 + rand.IntN(3)
			switch rand.IntN(6) {
			case 0:
				n = 4 + rand.IntN(4)
			case 1:
				n = 300
			}
			for range n {
				c := newBufConn(true, 0)
				r.subscribe(c, hub.SubscriberOptions{}, now(name(i))...)
				conns[i] = append(conns[i], c)
			}
		}
		for n := 1; n <= messages; n++ {
			for _, i := range rand.Perm(rooms) {
				one(t, r.Hub, name(i), fmt.Sprint(n))
			}
			if n%5 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		for i := range conns {
			for _, c := range conns[i] {
				want(t, c, msgs(name(i), 1, messages)...)
			}
		}
	})
}
