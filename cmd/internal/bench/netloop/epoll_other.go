//go:build !linux

package netloop

import (
	"errors"
	"net"
	"time"
)

func newEpoll(*net.TCPAddr, time.Duration) (backend, error) { return nil, errors.ErrUnsupported }
