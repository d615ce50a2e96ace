//go:build unix

package bench

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps a terminal's interrupt from a server that the bench starts:
// the bench ends it, when its clients have left.
func ownGroup(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
