package server

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/conn"
)

// gate is a listener that has connections wait while too many begin at once, and
// turns them away while the server is full. It tells them so: a connection that merely hangs or breaks looks like a network
// at fault.
type gate struct {
	net.Listener
	full     func() bool
	admit    *admission
	tls      *tls.Config // how a refusal is said where the connections are TLS; nil where not
	tuning   conn.Tuning
	refusing chan struct{} // a place for each refusal under way
}

// At most so many connections are being told at once, and for so long; any
// more are closed without a word.
const (
	maxRefusing       = 64
	refusePatience    = time.Second
	handshakePatience = 3 * time.Second // over TLS, which goes to and fro more often
)

func newGate(l net.Listener, full func() bool, admit *admission, o Options) *gate {
	g := &gate{Listener: l, full: full, admit: admit, tuning: o.Tuning, refusing: make(chan struct{}, maxRefusing)}
	if o.TLS != nil {
		g.tls = o.TLS.Clone()
		g.tls.NextProtos = []string{"http/1.1"} // which the refusal is
	}
	return g
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		g.admit.wait()
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !g.full() {
			conn.Tune(c, g.tuning)
			g.admit.accepted(c)
			return c, nil
		}
		select {
		case g.refusing <- struct{}{}:
			go func() {
				refuse(c, g.tls)
				<-g.refusing
			}()
		default:
			c.Close()
		}
	}
}

// tooMany is the answer that refuse gives.
func tooMany() []byte {
	e := codes.New(codes.TooManyConnections, "this node has as many connections as it may have")
	body := e.AppendBody(nil)
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n"+
		"Content-Type: application/json\r\n"+
		"Content-Length: %d\r\n"+
		"Cache-Control: no-store\r\n"+
		"Access-Control-Allow-Origin: *\r\n"+ // nothing secret, and a page should see why
		"Retry-After: %d\r\n"+
		"Connection: close\r\n\r\n%s",
		e.HTTPStatus(), http.StatusText(e.HTTPStatus()), len(body), int(e.RetryAfter.Seconds()), body)
}

// refuse waits for the beginning of a request, since clients take an answer
// that comes before it for nonsense. Afterwards it ends the writing side and
// reads what still comes: a close with unread bytes would be a reset, which
// takes the answer away from the client again.
func refuse(c net.Conn, config *tls.Config) {
	defer c.Close()
	patience := refusePatience
	if config != nil {
		c, patience = tls.Server(c, config), handshakePatience
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 4<<10)); err != nil {
		return
	}
	if _, err := c.Write(tooMany()); err != nil {
		return
	}
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	io.Copy(io.Discard, io.LimitReader(c, 64<<10))
}
