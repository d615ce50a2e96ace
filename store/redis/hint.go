package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
)

// hint says what is likely where Redis cannot be used from the start, for errors
// that do not say so themselves; "" for the others.
func (a Address) hint(err error) string {
	var op *net.OpError
	dialing := errors.As(err, &op) && op.Op == "dial"
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case a.TLS && !dialing && (notTLS || errors.Is(err, context.DeadlineExceeded)):
		// Redis takes the beginning of a handshake for half a command, and waits.
		return " (does it speak TLS there? redis:// is for a port that does not)"
	case !a.TLS && !dialing && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return " (does it speak only TLS there? rediss:// is for a port that does)"
	}
	return ""
}
