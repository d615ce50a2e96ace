//go:build !unix

package redis

import "net"

// gone cannot be seen here.
func gone(net.Conn) bool { return false }
