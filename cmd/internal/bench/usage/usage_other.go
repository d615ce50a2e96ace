//go:build !linux

package usage

import (
	"os/exec"
	"time"
)

func of(int) (Cost, error)           { return Cost{}, ErrUnknown }
func cpu(int) (time.Duration, error) { return 0, ErrUnknown }
func self() (time.Duration, error)   { return 0, ErrUnknown }
func tcpMemory() (int64, error)      { return 0, ErrUnknown }
func processor() string              { return "" }

// Pin keeps this process on one core.
func Pin(int) error { return ErrUnknown }

// StartOn starts a command on one core; core -1 means any.
func StartOn(core int, c *exec.Cmd) error {
	if core >= 0 {
		return ErrUnknown
	}
	return c.Start()
}
