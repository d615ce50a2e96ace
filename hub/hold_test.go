package hub_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
)

// What is published while delivery is held is delivered by the first who
// releases it, whoever else still holds it; where it is much, by the workers.
func TestHeldDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, hub.Options{}, memory.Options{})
		var conns [200]*bufConn
		for i := range conns {
			conns[i] = newBufConn(true, 0)
			r.subscribe(conns[i], hub.SubscriberOptions{}, now(fmt.Sprint("room", i))...)
		}
		all := func(from, to, n int) {
			t.Helper()
			for i := from; i < to; i++ {
				want(t, conns[i], msgs(fmt.Sprint("room", i), 1, n)...)
			}
		}
		publish := func(from, to int, data string) {
			t.Helper()
			for i := from; i < to; i++ {
				one(t, r.Hub, fmt.Sprint("room", i), data)
			}
		}
		r.HoldDelivery()
		r.HoldDelivery()
		publish(0, 10, "1")
		synctest.Wait()
		all(0, 10, 0)
		r.ReleaseDelivery()
		all(0, 10, 1)
		publish(0, 5, "2")
		publish(0, 5, "3")
		r.ReleaseDelivery()
		all(0, 5, 3)
		all(5, 10, 1)

		r.HoldDelivery()
		publish(10, 200, "1")
		synctest.Wait()
		all(100, 200, 1)
		r.ReleaseDelivery()
		all(10, 200, 1)
		publish(5, 10, "2")
		synctest.Wait()
		all(5, 10, 2)
	})
}
