//go:build linux && (amd64 || arm64 || loong64 || riscv64)

package conn

import (
	"syscall"
	"unsafe"
)

// write is send(2) without telling the scheduler: it does not block, and telling
// takes longer than what is left to do. send(2) is shorter than write(2), which
// passes through what files need. p is not empty.
func write(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
