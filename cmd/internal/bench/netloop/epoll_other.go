//go:build !linux

package netloop

import (
	"errors"
	"net"
)

func newEpoll(*net.TCPAddr) (backend, error) { return nil, errors.ErrUnsupported }
