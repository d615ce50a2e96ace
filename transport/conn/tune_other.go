//go:build !linux

package conn

import "net"

// tune bounds the send buffer where the system lets it.
func tune(nc net.Conn, t Tuning) {
	if tcp, ok := nc.(*net.TCPConn); ok && t.SendBuffer > 0 {
		_ = tcp.SetWriteBuffer(t.SendBuffer)
	}
}
