package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Go collects garbage when more comes, or after two minutes, and gives freed
// memory back over minutes more. A server whose clients have all come in a
// minute and then mostly wait would hold twice what it needs, so it
// collects and gives back once it has become quiet.
const (
	// idleLook is how often it is looked at.
	idleLook = 2 * time.Second
	// idleAllocs and idleDeliveries are the most between two looks of a quiet
	// server: a collection is no burden then, and delays nobody.
	idleAllocs     = 4 << 20
	idleDeliveries = 1000
	// idlePause is between one collection of this kind and the next.
	idlePause = 5 * time.Second
	// idleWorth is the least that is worth a collection; it must also be an
	// eighth of what is alive.
	idleWorth = 4 << 20
)

// heapUse is what the runtime says of the heap, in bytes.
type heapUse struct {
	allocated uint64 // since the start of the process
	live      uint64 // as of the last collection
	objects   uint64 // live ones and garbage
	free      uint64 // not used, and not given back
}

func readHeap() heapUse {
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	value := func(i int) uint64 {
		if s[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime that does not tell
		}
		return s[i].Value.Uint64()
	}
	return heapUse{allocated: value(0), live: value(1), objects: value(2), free: value(3)}
}

// worth tells whether a collection would give enough back.
func (m heapUse) worth() bool {
	gain := m.free
	if m.objects > m.live {
		gain += m.objects - m.live
	}
	return gain >= max(idleWorth, m.live/8)
}

// idler gives memory back when there is little else to do.
type idler struct {
	delivered func() int64 // messages, since the start
	read      func() heapUse
	collect   func()

	before    heapUse
	beforeOut int64
	last      time.Time // of the collection before
}

func newIdler(delivered func() int64) *idler {
	return &idler{delivered: delivered, read: readHeap, collect: debug.FreeOSMemory}
}

// look collects if it has been quiet since the look before. Nothing has
// happened before the first.
func (i *idler) look(now time.Time) {
	m, out := i.read(), i.delivered()
	first := i.before == heapUse{}
	quiet := first || m.allocated-i.before.allocated < idleAllocs && out-i.beforeOut < idleDeliveries
	i.before, i.beforeOut = m, out
	if quiet && m.worth() && now.Sub(i.last) >= idlePause {
		i.collect()
		i.last = now
		i.before = i.read()
	}
}

func (i *idler) run(ctx context.Context) {
	t := time.NewTicker(idleLook)
	defer t.Stop()
	for {
		i.look(time.Now())
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
