// Package storetest is the laws of hub.Store as a test suite: one named subtest
// for each law, the same for every implementation.
//
//	func TestLaws(t *testing.T) {
//		storetest.Run(t, storetest.Backend{
//			Unit: time.Minute,
//			Open: func(t *testing.T, o storetest.Options) storetest.Instance { ... },
//		})
//	}
//
// Laws count time in Backend.Unit: a store with a movable clock takes a long
// unit and jumps, a real server takes a short one and waits. Every life that a
// law asks for is some units and a half, and time moves by whole units, so that
// nothing depends on what happens at the very moment of expiry.
package storetest

import (
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Backend is how the suite gets at an implementation.
type Backend struct {
	// Unit is the step in which laws count time, a minute if zero. In real
	// time it should be ten times what a slow machine needs for a few calls.
	Unit time.Duration
	// RealTime says that Instance.Advance waits. Then what a law expects to be
	// still alive is checked only where that much time has not yet passed, and
	// the model does not move time.
	RealTime bool
	// Open makes an empty store with the given bounds; the suite closes it. It
	// may call t.Skip, with a reason, where the store has no such bound. What
	// else it starts it ends by t.Cleanup. It must not call t.Parallel.
	Open func(t *testing.T, o Options) Instance
	// OpenTwo is for RunTwoNodes: two stores over the same, empty data. Advance
	// of the first is used for both.
	OpenTwo func(t *testing.T, o Options) (a, b Instance)
	// Goroutines names what marks a goroutine that belongs to the store, in
	// its stack: packages of a client library. The store's own package need
	// not be named.
	Goroutines []string
}

// Instance is one store under test.
type Instance struct {
	Store hub.Store
	// Advance lets at least d pass by the store's clock.
	Advance func(d time.Duration)
}

// Options are the bounds that a law wants. A zero field is not part of the law:
// the bound is to be ample (a thousand units, a thousand messages).
type Options struct {
	HistoryMessages int           // messages kept of a room: exactly so many
	HistoryBytes    int           // sum of hub.Message.Size kept of a room: at most so many
	HistoryAge      time.Duration // a message is not returned when it is older
	RoomTTL         time.Duration // life of a position after its last message or reader
	TotalBytes      int           // of all histories
	MaxKeys         int
	MaxRooms        int
}

type law struct {
	name string
	run  func(*env)
}

// Run checks every law of a single store.
func Run(t *testing.T, b Backend) {
	groups := []struct {
		name string
		laws []law
	}{
		{"Order", orderLaws},
		{"Keys", keyLaws},
		{"Gaps", gapLaws},
		{"Read", readLaws},
		{"Watch", watchLaws},
		{"Presence", presenceLaws},
		{"Bounds", boundLaws},
		{"Names", nameLaws},
		{"Life", lifeLaws},
		{"Model", modelLaws},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, l := range g.laws {
				t.Run(l.name, func(t *testing.T) { l.run(newEnv(t, b)) })
			}
		})
	}
}

// RunTwoNodes checks the laws of two stores over the same data.
func RunTwoNodes(t *testing.T, b Backend) {
	for _, l := range twoNodeLaws {
		t.Run(l.name, func(t *testing.T) { l.run(newEnv(t, b)) })
	}
}
