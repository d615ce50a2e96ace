//go:build unix && !(linux && (amd64 || arm64 || loong64 || riscv64))

package conn

import "syscall"

func write(fd int, p []byte) (int, error) { return syscall.Write(fd, p) }
