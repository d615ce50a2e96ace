//go:build unix

package main

import "syscall"

// descriptorLimit is how many files and connections the system lets this
// process have open, 0 where that is unknown. The Go runtime has raised the
// soft limit to the hard one already.
func descriptorLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<31))
}
