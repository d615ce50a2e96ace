package conn

import (
	"net"
	"testing"

	"github.com/culvertd/culvert/transport/poller"
)

// pausing takes one piece.
type pausing chan byte

func (p pausing) Data(_ *poller.Conn, b []byte) bool {
	p <- b[0]
	return false
}

func (pausing) Closed(*poller.Conn, error) {}

// What comes on a connection that was given up while reading is paused is for
// whoever reads it next, all of it.
func TestPolledRelease(t *testing.T) {
	for name, pl := range map[string]*poller.Poller{"epoll": poller.New(), "goroutine": poller.WithoutEpoll()} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			there, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer there.Close()
			here, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer pl.Close()
			defer here.Close()
			gone := 0
			var p Polled
			p.Init(here, func() { gone++ })
			got := make(pausing)
			if err := p.Poll(pl, got); err != nil {
				t.Fatal(err)
			}
			there.Write([]byte{1})
			<-got
			there.Write([]byte{2})
			if !p.Release() || gone != 1 || p.Release() {
				t.Fatal("it was not given up, once")
			}
			var b [1]byte
			if _, err := here.Read(b[:]); err != nil || b[0] != 2 {
				t.Errorf("read %d, %v", b[0], err)
			}
		})
	}
}
