package main

import (
	"math"
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
	if allowed := memoryAllowed(); allowed > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(ownShare(allowed))
	}
}

// ownShare is what the Go runtime may take of the memory that is allowed in
// all: the rest is for what the kernel keeps for connections, which counts as
// the process's.
func ownShare(allowed int64) int64 { return allowed / 4 * 3 }

// memoryLimit is what the Go runtime keeps to, 0 for no limit.
func memoryLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n != math.MaxInt64 {
		return n
	}
	return 0
}
