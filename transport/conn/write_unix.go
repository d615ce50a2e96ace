//go:build unix && !linux

package conn

import "syscall"

func write(fd int, p []byte) (int, error) { return syscall.Write(fd, p) }
