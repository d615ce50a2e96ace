package conn

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

func tcpPair(t testing.TB) (here, there *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there = nc.(*net.TCPConn)
	if nc, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	here = nc.(*net.TCPConn)
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

// What TryWrite takes arrives, and what it does not take is left to Write.
func TestTryWriteTakesPart(t *testing.T) {
	here, there := tcpPair(t)
	c := New(here)
	if c.raw == nil {
		t.Skipf("no writing without waiting on %s", runtime.GOOS)
	}
	c.Tune(Tuning{SendBuffer: 64 << 10, UserTimeout: time.Minute, NotSentLowat: 128 << 10})
	want := make([]byte, 8<<20)
	rand.Read(want)
	rest, full := want, false
	for !full && len(rest) > 0 {
		n, err := c.TryWrite(rest[:min(len(rest), 64<<10)])
		if err != nil {
			t.Fatal(err)
		}
		rest, full = rest[n:], n == 0
	}
	if !full {
		t.Fatal("8 MiB fit into a connection that nobody reads")
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(rest)
		c.Close()
		done <- err
	}()
	got, err := io.ReadAll(there)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, %v", len(got), len(want), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := c.TryWrite([]byte("x")); err == nil {
		t.Error("a closed connection takes bytes")
	}
}

func TestTryWriteOnAPipe(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if n, err := New(a).TryWrite([]byte("x")); n != 0 || err != nil {
		t.Errorf("a pipe took %d, %v", n, err)
	}
}

// TestCloseDoesNotWait: TLS says goodbye, but not to a peer that takes nothing
// while somebody waits for Close.
func TestCloseDoesNotWait(t *testing.T) {
	here, there := tcpPair(t)
	c := New(tls.Server(here, &tls.Config{}))
	here.SetWriteBuffer(4 << 10)
	there.SetReadBuffer(4 << 10)
	here.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for { // until nothing fits any more
		if _, err := here.Write(make([]byte, 4<<10)); err != nil {
			break
		}
	}
	here.SetWriteDeadline(time.Time{})
	if n, err := c.TryWrite([]byte("x")); n != 0 || err != nil {
		t.Errorf("something was written past TLS: %d, %v", n, err)
	}
	begin := time.Now()
	c.Close()
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a closed connection takes bytes")
	}
}

func BenchmarkTryWrite(b *testing.B) {
	for name, dress := range map[string]func(net.Conn) net.Conn{"net": func(nc net.Conn) net.Conn { return nc }, "light": Lighten} {
		b.Run(name, func(b *testing.B) {
			here, there := tcpPair(b)
			go io.Copy(io.Discard, there)
			c := New(dress(here))
			defer c.Close()
			p := make([]byte, 256)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.TryWrite(p); err != nil {
					b.Fatal(err)
				}
				if c.raw == nil {
					b.Skip("no writing without waiting here")
				}
			}
		})
	}
}
