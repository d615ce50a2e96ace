package conn

import (
	"syscall"
	"unsafe"
)

// write is write(2) without telling the scheduler: the descriptor does not
// block, and telling takes longer than what is left to do. p is not empty.
func write(fd int, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
