package poller

import (
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder keeps what it hears; it may pause after each piece.
type recorder struct {
	pauses bool
	mu     sync.Mutex
	cond   *sync.Cond
	got    strings.Builder
	calls  int
	err    error
}

func newRecorder(pauses bool) *recorder {
	r := &recorder{pauses: pauses}
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) Data(_ *Conn, p []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got.Write(p)
	r.calls++
	r.cond.Broadcast()
	return !r.pauses
}

func (r *recorder) Closed(_ *Conn, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		err = fmt.Errorf("closed twice: %w, %w", r.err, err)
	}
	r.err = err
	r.cond.Broadcast()
}

// wait tells whether more may come.
func (r *recorder) wait(t *testing.T, what string, ok func() bool) bool {
	t.Helper()
	timer := time.AfterFunc(10*time.Second, func() {
		r.mu.Lock()
		r.cond.Broadcast()
		r.mu.Unlock()
	})
	begin := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer timer.Stop()
	for !ok() {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("waited in vain for %s; got %q, %v", what, r.got.String(), r.err)
		}
		r.cond.Wait()
	}
	return r.err == nil
}

func tcpPair(t *testing.T) (here, there net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

func pipePair(t *testing.T) (here, there net.Conn) {
	here, there = net.Pipe()
	t.Cleanup(func() { here.Close(); there.Close() })
	return here, there
}

var pairs = map[string]func(*testing.T) (net.Conn, net.Conn){"tcp": tcpPair, "pipe": pipePair}

func TestReadsUntilClosed(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			p := New()
			here, there := pair(t)
			r := newRecorder(false)
			c, err := p.Add(here, r)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := p.Native(here), name == "tcp" && runtime.GOOS == "linux"; got != want {
				t.Errorf("Native(%s) is %v", name, got)
			}
			want := strings.Repeat("0123456789", 10_000)
			if _, err := io.WriteString(there, want); err != nil {
				t.Fatal(err)
			}
			r.wait(t, "all of it", func() bool { return r.got.Len() == len(want) })
			if r.got.String() != want {
				t.Error("other bytes came than were sent")
			}
			there.Close()
			r.wait(t, "the end", func() bool { return r.err != nil })
			if r.err != io.EOF {
				t.Errorf("it ended with %v", r.err)
			}
			c.Stop()
			here.Close()
			p.Close()
			if _, err := p.Add(here, r); !errors.Is(err, ErrClosed) {
				t.Errorf("Add after Close: %v", err)
			}
		})
	}
}

func TestPause(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			p := New()
			here, there := pair(t)
			r := newRecorder(true)
			c, err := p.Add(here, r)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for range 5 {
					there.Write([]byte("x"))
				}
				there.Close()
			}()
			for i, over := 1, false; !over; i++ {
				r.wait(t, "a piece", func() bool { return r.calls >= i || r.err != nil })
				r.mu.Lock()
				calls := r.calls
				over = r.err != nil
				r.mu.Unlock()
				if calls > i {
					t.Errorf("%d calls, %d were asked for", calls, i)
				}
				c.Resume()
			}
			if r.got.String() != "xxxxx" {
				t.Errorf("got %q", r.got.String())
			}
			c.Stop()
			here.Close()
			p.Close()
		})
	}
}

// A connection that is closed here leaves its place to another one, which
// hears nothing of it.
func TestReuse(t *testing.T) {
	p := New()
	defer p.Close()
	for i := range 200 {
		here, there := tcpPair(t)
		r := newRecorder(false)
		c, err := p.Add(here, r)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint("hello ", i)
		io.WriteString(there, want)
		r.wait(t, "a word", func() bool { return r.got.Len() == len(want) })
		c.Stop()
		here.Close()
		there.Close()
		r.mu.Lock()
		if r.got.String() != want || r.err != nil {
			t.Errorf("round %d: %q, %v", i, r.got.String(), r.err)
		}
		r.mu.Unlock()
	}
}

// Data and the end that come together are both heard, and so is what comes
// while the handler pauses.
func TestLastWords(t *testing.T) {
	for _, pauses := range []bool{false, true} {
		p := New()
		for i := range 200 {
			here, there := tcpPair(t)
			want := strings.Repeat("x", 1+i*500) // up to several reads
			if i%2 == 0 {
				io.WriteString(there, want)
				there.Close()
			}
			r := newRecorder(pauses)
			c, err := p.Add(here, r)
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				go func() {
					io.WriteString(there, want)
					there.Close()
				}()
			}
			for n := 1; pauses && r.wait(t, "a piece", func() bool { return r.calls >= n || r.err != nil }); n++ {
				c.Resume()
			}
			r.wait(t, "the end", func() bool { return r.err != nil })
			if r.got.String() != want || r.err != io.EOF {
				t.Errorf("round %d: %d bytes of %d, %v", i, r.got.Len(), len(want), r.err)
			}
			c.Stop()
			here.Close()
		}
		p.Close()
	}
}
