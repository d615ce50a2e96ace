//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// relay carries bytes to a proxy and back, and understands none of them. It can
// forget what it carries: those connections stay open at both ends, nothing
// passes in them any more, not even their end, and new ones are carried as ever.
type relay struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu      sync.Mutex
	closed  bool                   // guarded by mu
	carried map[*carriage]struct{} // guarded by mu
}

// carriage is one connection and its other half.
type carriage struct {
	client, server *net.TCPConn
	forgotten      atomic.Bool
}

func startRelay(t testing.TB, target string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, target: target, carried: map[*carriage]struct{}{}}
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.carry(c.(*net.TCPConn)) })
	}
}

func (r *relay) carry(client *net.TCPConn) {
	s, err := net.Dial("tcp", r.target)
	if err != nil {
		reset(client)
		return
	}
	c := &carriage{client: client, server: s.(*net.TCPConn)}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		reset(c.client)
		reset(c.server)
		return
	}
	r.carried[c] = struct{}{}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { c.pump(c.server, c.client) })
	both.Go(func() { c.pump(c.client, c.server) })
	both.Wait()
	if c.forgotten.Load() {
		return // close ends it
	}
	c.client.Close()
	c.server.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.carried, c)
}

// pump carries one direction. An end is passed on as an end, a reset as a reset.
func (c *carriage) pump(to, from *net.TCPConn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if c.forgotten.Load() {
			for err == nil { // its sender is not told by a full buffer either
				_, err = from.Read(buffer)
			}
			return
		}
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				reset(from)
				return
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = to.CloseWrite()
			return
		default:
			reset(to)
			return
		}
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// forget forgets every connection that is open now.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.carried {
		c.forgotten.Store(true)
	}
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	for c := range r.carried {
		reset(c.client)
		reset(c.server)
	}
	r.mu.Unlock()
	r.listener.Close()
	r.wg.Wait()
}

// relayed puts a relay in front of a path, so that it can fall silent.
func relayed(t testing.TB, p *path) *path {
	t.Helper()
	q := *p
	first, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	if p.proxy != nil {
		first = p.proxy
	}
	r := startRelay(t, first.Host)
	q.forget = r.forget
	if at := (&url.URL{Scheme: first.Scheme, Host: r.listener.Addr().String()}); p.proxy != nil {
		q.proxy = at
	} else {
		q.url = at.String()
	}
	return &q
}

// kernelForgets makes a path of a namespace fall silent where nothing may come
// between client and server: packets of the connections that are open now are
// dropped.
func kernelForgets(t testing.TB, p *path) {
	p.forget = func() {
		u, err := url.Parse(p.url)
		if err != nil {
			t.Error(err)
			return
		}
		for _, port := range peers(t, u.Port()) {
			iptables(t, "-I", "INPUT", "-p", "tcp", "--sport", port, "--dport", u.Port(), "-j", "DROP")
			iptables(t, "-I", "INPUT", "-p", "tcp", "--sport", u.Port(), "--dport", port, "-j", "DROP")
		}
	}
}

// peers are the ports of those who are connected to a port of this namespace.
func peers(t testing.TB, port string) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Error(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		// "0: 0100007F:1F90 0100007F:D431 01 …": local, remote, state (1: established).
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[3] != "01" || portOf(fields[1]) != port {
			continue
		}
		all = append(all, portOf(fields[2]))
	}
	return all
}

func portOf(address string) string {
	_, hex, _ := strings.Cut(address, ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	if err != nil {
		return ""
	}
	return fmt.Sprint(n)
}
