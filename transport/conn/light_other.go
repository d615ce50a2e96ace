//go:build !linux

package conn

import (
	"net"
	"syscall"
)

// Lighten returns nc: only where a poller reads is anything gained.
func Lighten(nc net.Conn) net.Conn { return nc }

// Restore undoes Lighten.
func Restore(nc net.Conn) (net.Conn, error) { return nc, nil }

// light does not exist here.
type light struct{}

func (*light) try([]byte) (int, error) { return 0, nil }
func (*light) near()                   {}
func lightIn(syscall.RawConn) *light   { return nil }
func lightOf(net.Conn) syscall.RawConn { return nil }
