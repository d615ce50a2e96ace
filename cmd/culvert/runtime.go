package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// gcPercent halves Go's usual headroom for garbage: a server of many idle
// connections is mostly live memory, and delivery makes next to no garbage.
const gcPercent = 50

// tuneRuntime sets what the environment has left open. One processor more than
// there are cores keeps the network polled while delivery fills them all: without
// it an unrelated request waits for the rounds of a large room.
func tuneRuntime() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
