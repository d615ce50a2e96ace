//go:build unix

package redis_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a store and its server, and loses answers.
type proxy struct {
	listener net.Listener
	target   atomic.Value // string

	// swallow: the next call of a script reaches the server, and its answer is
	// thrown away.
	swallow atomic.Bool
	// hang: the connection whose answer was swallowed stays open and silent;
	// otherwise it is closed.
	hang      atomic.Bool
	swallowed atomic.Int32

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
	wg    sync.WaitGroup
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.lead(target)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

// lead makes new connections go to another server.
func (p *proxy) lead(target string) { p.target.Store(target) }

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target.Load().(string))
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		var eating atomic.Bool
		p.wg.Go(func() {
			defer server.Close()
			defer client.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := client.Read(buf)
				if bytes.Contains(buf[:n], []byte("EVALSHA")) && p.swallow.CompareAndSwap(true, false) {
					eating.Store(true)
				}
				if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
		p.wg.Go(func() {
			defer server.Close()
			defer client.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := server.Read(buf)
				if err == nil && eating.Load() {
					p.swallowed.Add(1)
					if p.hang.Load() {
						io.Copy(io.Discard, server)
					}
					return
				}
				if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		})
	}
}
