package bench

import (
	"net"
	"net/url"
	"testing"
)

// However many may be connecting, others have their turn after a few: or what
// they wait for is seen late, and looks like the server's doing.
func TestDialsInTurns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := &options{
		target: &url.URL{Scheme: "http", Host: l.Addr().String(), Path: ""}, transport: transportSSE,
		subscribers: 3 * dialsAtOnce, rooms: 1, connecting: 2*dialsAtOnce + 1, clientCore: -1, publishers: 1, publish: publishHTTP,
	}
	r, err := newRun(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.loop.Close()
	for _, s := range r.subs {
		r.dialing.now(s)
	}
	for i, want := range []struct {
		connecting int
		more       bool
	}{{dialsAtOnce, true}, {2 * dialsAtOnce, true}, {2*dialsAtOnce + 1, false}, {2*dialsAtOnce + 1, false}} {
		if more := r.dial(r.now()); more != want.more || r.dialing.n != want.connecting {
			t.Errorf("look %d: %d are connecting, more to dial: %t; want %+v", i, r.dialing.n, more, want)
		}
	}
}
