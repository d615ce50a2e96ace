package server

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// rush dials so many connections at once, and returns those that were accepted.
func rush(l *pipes, n int) <-chan net.Conn {
	accepted := make(chan net.Conn, n)
	for range n {
		go func() {
			ours, theirs := net.Pipe()
			select {
			case l.conns <- theirs:
				accepted <- ours
			case <-l.closed:
			}
		}()
	}
	return accepted
}

// TestRushWaits: of many connections that come at once so many are accepted,
// and another whenever a request of one begins or one ends.
func TestRushWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		serving := make(chan struct{})
		s, l := start(t, Options{Handshakes: 4, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-serving })})
		accepted := rush(l, 10)
		synctest.Wait()
		if n := len(accepted); n != 4 {
			t.Errorf("%d are accepted at once, want 4", n)
		}
		// However long the handler takes: its connection has begun.
		first := <-accepted
		go io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait()
		if n := len(accepted); n != 4 {
			t.Errorf("%d wait behind one that has begun, want 4", n)
		}
		(<-accepted).Close()
		synctest.Wait()
		if n := len(accepted); n != 4 {
			t.Errorf("%d wait behind one that has begun and one that has gone, want 4", n)
		}
		// A connection that goes on is no new one.
		close(serving)
		go io.Copy(io.Discard, first)
		io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait()
		if n := len(accepted); n != 4 {
			t.Errorf("%d wait after the second request of one, want 4", n)
		}
		first.Close()
		time.Sleep(time.Second)
		for range 8 {
			(<-accepted).Close()
		}
		stop(t, s)
	})
}

// TestSilentDoNotKeepOthersOut: connections that say nothing delay those behind
// them by admitPatience for each Handshakes of them.
func TestSilentDoNotKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := start(t, Options{Handshakes: 4, Handler: echo})
		silent := rush(l, 40)
		synctest.Wait()
		began := time.Now()
		c := l.dial(t)
		go io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if answer, err := io.ReadAll(c); err != nil || len(answer) == 0 {
			t.Errorf("%q, %v", answer, err)
		}
		if took := time.Since(began); took > 11*admitPatience+time.Second/2 { // net/http's drain before the close
			t.Errorf("it took %s behind 40 silent ones", took)
		}
		for range 40 {
			(<-silent).Close()
		}
		stop(t, s)
	})
}

// TestBegunOverTLS: net/http speaks of the TLS connection, the listener of the
// one below.
func TestBegunOverTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	a := newAdmission(1)
	a.accepted(theirs)
	if !a.full() {
		t.Error("it is not counted in")
	}
	a.begun(tls.Server(theirs, new(tls.Config)))
	if a.full() {
		t.Error("it is not counted out")
	}
}

// TestHandshakesDefault: where nothing is said there is a bound all the same.
func TestHandshakesDefault(t *testing.T) {
	t.Parallel()
	if a := newAdmission(0); a.most != Handshakes {
		t.Errorf("%d, want %d", a.most, Handshakes)
	}
}
