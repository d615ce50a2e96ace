package transporttest

import (
	"net"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvertd/culvert/hub"
)

// Setup is what a law wants of the server it runs against. The zero value is a
// server with its defaults.
type Setup struct {
	// Hub are the hub's options; whoever starts it adds the framings.
	Hub hub.Options
	// HistoryMessages and HistoryBytes are what the store keeps of a room, 0
	// for its defaults.
	HistoryMessages int
	HistoryBytes    int
}

// Running is a server under test.
type Running struct {
	Hub *hub.Hub
	// Stop ends the server, its hub and its store, and waits for them.
	Stop func()
}

// Start starts a server on a listener. It calls t.Fatal where it cannot.
type Start func(t testing.TB, l net.Listener, s Setup) Running

// The transports.
const (
	WS     = "ws"
	SSE    = "sse"
	NDJSON = "ndjson"
	Poll   = "poll"
)

// Transports are all of them.
func Transports() []string { return []string{WS, SSE, NDJSON, Poll} }

// law is one thing that a reader may rely on.
type law struct {
	name  string
	setup Setup
	// on are the transports that it concerns; nil for all, none for a law that
	// uses several at once.
	on []string
	// virtual laws take minutes, and run where time is not real.
	virtual bool
	// deflate: WebSockets offer permessage-deflate, and must be given it.
	deflate bool
	check   func(e *env, transport string)
}

// Run runs every law over every transport, twice: over pipes inside a synctest
// bubble, and over TCP with tiny buffers.
func Run(t *testing.T, start Start) {
	t.Run("pipes", func(t *testing.T) {
		each(t, laws(), func(t *testing.T, l law, transport string) {
			synctest.Test(t, func(t *testing.T) {
				// What a test leaves behind is found by synctest.
				runLaw(t, l, transport, NewPipes(), start, true)
			})
		})
	})
	t.Run("tcp", func(t *testing.T) { RunTCP(t, start) })
}

// RunTCP runs every law that needs no virtual time over TCP with tiny buffers.
func RunTCP(t *testing.T, start Start) {
	runOver(t, realLaws(), start, newTiny)
}

// realLaws are those that need no virtual time.
func realLaws() []law {
	return slices.DeleteFunc(laws(), func(l law) bool { return l.virtual })
}

func newTiny(t *testing.T) Network {
	t.Helper()
	network, err := NewLoopback(true)
	if err != nil {
		t.Fatal(err)
	}
	return network
}

// runOver runs laws over a network of its own for each.
func runOver(t *testing.T, laws []law, start Start, newNetwork func(t *testing.T) Network) {
	each(t, laws, func(t *testing.T, l law, transport string) {
		before := runtime.NumGoroutine()
		// Registered first, so that it runs last.
		t.Cleanup(func() { noneLeft(t, before) })
		runLaw(t, l, transport, newNetwork(t), start, false)
	})
}

// RunDeflated runs the laws of WebSocket that need no virtual time over
// connections on which both sides compress what they can.
func RunDeflated(t *testing.T, start Start) {
	some := slices.DeleteFunc(realLaws(), func(l law) bool { return len(l.on) > 0 && !slices.Contains(l.on, WS) })
	for i := range some {
		some[i].deflate = true
		if some[i].on == nil || len(some[i].on) > 1 {
			some[i].on = []string{WS}
		}
	}
	runOver(t, some, start, newTiny)
}

func each(t *testing.T, laws []law, run func(t *testing.T, l law, transport string)) {
	for _, l := range laws {
		t.Run(l.name, func(t *testing.T) {
			on := l.on
			if on == nil {
				on = Transports()
			}
			if len(on) == 0 {
				run(t, l, "")
				return
			}
			for _, transport := range on {
				t.Run(transport, func(t *testing.T) { run(t, l, transport) })
			}
		})
	}
}

func runLaw(t *testing.T, l law, transport string, network Network, start Start, bubble bool) {
	run := start(t, network, l.setup)
	e := &env{T: t, network: network, hub: run.Hub, bubble: bubble, deflate: l.deflate}
	// Clients go first, then the server: a server's Close need not be gentle.
	t.Cleanup(run.Stop)
	t.Cleanup(e.close)
	l.check(e, transport)
}

// noneLeft fails a test that leaves goroutines behind, and shows them. They may
// take a moment to end after what they waited for has.
func noneLeft(t *testing.T, before int) {
	deadline := time.Now().Add(10 * time.Second)
	for runtime.NumGoroutine() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func laws() []law {
	var all []law
	for _, group := range [][]law{readingLaws(), startLaws(), formLaws(), gapLaws(), presenceLaws(), lifeLaws(), badLaws(), commandLaws(), mixedLaws()} {
		all = append(all, group...)
	}
	return all
}
