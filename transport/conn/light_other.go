//go:build !linux

package conn

import (
	"net"
	"syscall"
)

// Lighten returns nc: only where a poller reads is anything gained.
func Lighten(nc net.Conn) net.Conn { return nc }

func lightOf(net.Conn) syscall.RawConn { return nil }
