package hub_test

import (
	"errors"
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
