package main

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// tuneRuntime sets what the environment has left open.
func tuneRuntime() {
	t := tuningFor(os.Getenv, runtime.GOMAXPROCS(0), memoryAllowed())
	if t.procs > 0 {
		runtime.GOMAXPROCS(t.procs)
	}
	if t.memory > 0 {
		debug.SetMemoryLimit(t.memory)
	}
}

// tuning is what is set of the runtime; 0 leaves it as it is.
type tuning struct {
	procs  int
	memory int64
}

// tuningFor is the tuning for an environment, on so many cores and with so much
// memory (0 for no limit). One processor more than there are cores keeps the
// network polled while delivery fills them all: without it an unrelated request
// waits for the rounds of a large room.
func tuningFor(getenv func(string) string, cores int, allowed int64) (t tuning) {
	if getenv("GOMAXPROCS") == "" {
		t.procs = cores + 1
	}
	if allowed > 0 && getenv("GOMEMLIMIT") == "" {
		t.memory = ownShare(allowed)
	}
	return t
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
