//go:build linux

package conn

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

func lightPair(t testing.TB) (here *light, there *net.TCPConn) {
	t.Helper()
	nc, there := tcpPair(t)
	local, remote := nc.LocalAddr().String(), nc.RemoteAddr().String()
	here, ok := Lighten(nc).(*light)
	if !ok {
		t.Fatal("a TCP connection stays as it is")
	}
	t.Cleanup(func() { here.Close() })
	if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what was given up can be used: %v", err)
	}
	if l, r := here.LocalAddr().String(), here.RemoteAddr().String(); l != local || r != remote {
		t.Errorf("%s and %s, want %s and %s", l, r, local, remote)
	}
	return here, there
}

func TestLightenLeavesOthers(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	if Lighten(a) != a {
		t.Error("a pipe is another one")
	}
	tcp, _ := tcpPair(t)
	tcp.Close()
	if Lighten(tcp) != net.Conn(tcp) {
		t.Error("a closed connection is another one")
	}
}

// Nothing is lost between what goes at once and what waits, whatever is used.
func TestLightWrites(t *testing.T) {
	here, there := lightPair(t)
	c := New(here)
	c.Tune(Tuning{SendBuffer: 16 << 10, UserTimeout: time.Minute, NotSentLowat: 128 << 10})
	want := make([]byte, 4<<20)
	rand.Read(want)
	failed := make(chan error, 1)
	go func() {
		rest := want
		for n := 1; len(rest) > 0; n++ {
			size := min(len(rest), 60<<10)
			if n%3 > 0 {
				wrote, err := c.TryWrite(rest[:size])
				rest, size = rest[wrote:], size-wrote
				if err != nil {
					failed <- err
					return
				}
			}
			err := c.SetWriteDeadline(time.Now().Add(time.Minute))
			if err == nil {
				_, err = c.Write(rest[:size])
			}
			if err == nil && n%2 == 0 {
				err = c.SetWriteDeadline(time.Time{})
			}
			if err != nil {
				failed <- err
				return
			}
			rest = rest[size:]
		}
		failed <- c.CloseWrite()
	}()
	got, err := io.ReadAll(there)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes arrived of %d, %v", len(got), len(want), err)
	}
	if err := <-failed; err != nil {
		t.Error(err)
	}
	// The other way is still open.
	there.Write([]byte("still there"))
	there.CloseWrite()
	if got, err := io.ReadAll(here); string(got) != "still there" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLightWaitsNoLongerThanItMay(t *testing.T) {
	here, _ := lightPair(t)
	c := New(here)
	c.Tune(Tuning{SendBuffer: 4 << 10})
	large := make([]byte, 16<<20)
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Write(large); !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == len(large) {
		t.Errorf("%d, %v", n, err)
	}
	if err := c.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Error(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Write(large)
		done <- err
	}()
	for waiting := false; !waiting; time.Sleep(time.Millisecond) {
		here.mu.Lock()
		waiting = here.slow != nil
		here.mu.Unlock()
	}
	c.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"Close": c.Close(), "CloseWrite": c.CloseWrite(), "SetWriteDeadline": c.SetWriteDeadline(time.Time{}),
		"SetDeadline": here.SetDeadline(time.Now()), "Control": here.Control(func(uintptr) { t.Error("called") }),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.TryWrite([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := here.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A descriptor's number is used again at once: what is written to a connection
// that is being closed must never arrive at another.
func TestLightNeverWritesToAnother(t *testing.T) {
	for range 200 {
		here, there := lightPair(t)
		c := New(here)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for {
					c.Near() // whenever
					if _, err := c.TryWrite([]byte("mine")); err != nil {
						return
					}
				}
			})
		}
		all.Go(func() { io.Copy(io.Discard, there) })
		c.Close()
		other, end := tcpPair(t) // likely with the same number
		all.Wait()
		other.Close()
		if got, err := io.ReadAll(end); len(got) > 0 || err != nil {
			t.Fatalf("another connection got %q, %v", got, err)
		}
		there.Close()
	}
}

// The raw form waits as that of package net does.
func TestLightRaw(t *testing.T) {
	here, there := lightPair(t)
	raw, err := here.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	tries := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		calls := 0
		done <- raw.Read(func(uintptr) bool {
			calls++
			tries <- struct{}{}
			return calls == 3
		})
	}()
	<-tries
	<-tries // the second, before it waits for the first time
	there.Write([]byte("x"))
	<-tries
	if err := <-done; err != nil {
		t.Error(err)
	}
	calls := 0
	if err := raw.Write(func(uintptr) bool { calls++; return true }); err != nil || calls != 1 {
		t.Error(calls, err)
	}
}

// What is restored waits as package net does, and the light one is closed.
func TestRestore(t *testing.T) {
	here, there := lightPair(t)
	local := here.LocalAddr().String()
	nc, err := Restore(here)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, ok := nc.(*net.TCPConn); !ok || nc.LocalAddr().String() != local {
		t.Errorf("%T at %s, want a *net.TCPConn at %s", nc, nc.LocalAddr(), local)
	}
	if err := here.Control(func(uintptr) { t.Error("called") }); !errors.Is(err, net.ErrClosed) {
		t.Errorf("what was given up can be used: %v", err)
	}
	nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	nc.SetReadDeadline(time.Time{})
	go there.Write([]byte("x"))
	if n, err := nc.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Error(n, err)
	}
	nc.Close()
	if _, err := there.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v: a descriptor is left", err)
	}
	if _, err := Restore(here); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if again, err := Restore(there); again != net.Conn(there) || err != nil {
		t.Error(again, err)
	}
}
