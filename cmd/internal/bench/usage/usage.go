// Package usage asks the operating system what processes cost: processor time,
// resident memory, and the kernel's memory for TCP. What a system does not tell
// is ErrUnknown.
package usage

import (
	"errors"
	"time"
)

// ErrUnknown is returned where the system does not tell.
var ErrUnknown = errors.New("this system does not tell")

// ErrCore is why nothing can be run on a core.
var ErrCore = errors.New("is not one of this process's")

// Cost is what some processes have used up to now.
type Cost struct {
	// CPU is user and system time together, Kernel the system's part. The
	// latter is counted in ticks of 10 ms.
	CPU, Kernel time.Duration
	// RSS is the resident memory now, in bytes; Private the part that is not
	// shared with files or other processes.
	RSS, Private int64
}

// Of returns the cost of a process and its descendants together.
func Of(pid int) (Cost, error) { return of(pid) }

// CPU returns the processor time of a process and its descendants. It costs
// less than Of.
func CPU(pid int) (time.Duration, error) { return cpu(pid) }

// Self returns the processor time of this process alone.
func Self() (time.Duration, error) { return self() }

// TCPMemory returns what the kernel holds for all TCP connections of the
// machine, in bytes.
func TCPMemory() (int64, error) { return tcpMemory() }

// Files is how many files and connections this process may have open; 0 where
// there is no bound, or none is known.
func Files() int { return files() }

// Processor is the model of the machine's processor, "" where it is not known.
func Processor() string { return processor() }
