package stream

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

var _ hub.Nearer = (*gate)(nil)

// nearConn notes what it is asked for.
type nearConn struct {
	near, closed int
	wrote        string
}

func (c *nearConn) Near()                            { c.near++ }
func (c *nearConn) TryWrite(p []byte) (int, error)   { c.wrote += string(p); return len(p), nil }
func (c *nearConn) Write(p []byte) (int, error)      { return c.TryWrite(p) }
func (c *nearConn) SetWriteDeadline(time.Time) error { return nil }
func (c *nearConn) CloseWrite() error                { return nil }
func (c *nearConn) Close() error                     { c.closed++; return nil }

// Until it is opened nothing goes through a gate, and nothing is lost by asking.
func TestGate(t *testing.T) {
	var g gate
	g.Near()
	if n, err := g.TryWrite([]byte("early")); n != 0 || err != nil {
		t.Errorf("a closed gate took %d bytes, %v", n, err)
	}
	if err := g.CloseWrite(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	written := make(chan error)
	go func() {
		_, err := g.Write([]byte("first "))
		written <- err
	}()
	c := new(nearConn)
	g.Open(c)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	g.Near()
	if n, err := g.TryWrite([]byte("words")); n != 5 || err != nil {
		t.Errorf("an open gate took %d bytes, %v", n, err)
	}
	g.Close()
	if c.near != 1 || c.wrote != "first words" || c.closed != 1 {
		t.Errorf("what came through: %+v", *c)
	}
}

// A gate that is closed before it is opened closes what comes.
func TestGateClosed(t *testing.T) {
	var g gate
	written := make(chan error)
	go func() {
		_, err := g.Write([]byte("never"))
		written <- err
	}()
	g.Close()
	if err := <-written; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	c := new(nearConn)
	g.Open(c)
	if c.closed != 1 || c.wrote != "" {
		t.Errorf("what came through: %+v", *c)
	}
}
