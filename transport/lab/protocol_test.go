//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestProtocol shows, with a client of a hundred lines, what each row leaves of
// the ways of reading, and that on those that are left nothing is lost, repeated
// or out of order, whatever is cut; and that a publish with a key takes effect
// once, however often it has to be repeated or is repeated on the way.
func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		t.Run(r.title(), func(t *testing.T) {
			t.Parallel()
			if r.namespace && inNamespace(t) {
				return
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			s := startServer(t)
			e := &experiment{ctx: ctx, path: r.start(t, s.host), direct: &path{url: s.url}, row: r}
			t.Run("outcomes", e.outcomes)
			t.Run("publish", e.publish)
			for _, f := range append([]form{poll, ws}, streams...) {
				if o := r.does[f]; o == "" {
					t.Run("read "+string(f), func(t *testing.T) { e.read(t, f) })
				}
			}
		})
	}
}

// experiment is a row with a server behind it.
type experiment struct {
	ctx    context.Context
	path   *path
	direct *path // to the server, nothing between
	row    row
}

// outcomes probes every form, all at once: most bad paths are known by waiting.
func (e *experiment) outcomes(t *testing.T) {
	var all sync.WaitGroup
	for _, f := range append([]form{poll, ws}, streams...) {
		want := e.row.does[f]
		if want == "" {
			want = good
		}
		all.Go(func() {
			got, err := e.path.probe(e.ctx, e.direct, f, "probe-"+string(f))
			// As many as there may be connections that were used before: a refused
			// request is the end of its connection.
			for n := range 4 {
				if got == want || !e.row.refusesSome || !badGateway(err) {
					break
				}
				got, err = e.path.probe(e.ctx, e.direct, f, fmt.Sprintf("probe-%s-%d", f, n))
			}
			if got != want {
				t.Errorf("%s is %s, not %s: %v", f, got, want, err)
			}
		})
	}
	all.Wait()
	if e.row.number == 1 {
		if got := e.path.status(t, "GET", fmt.Sprintf("/rooms/probe/ws?n=%d", nonce.Add(1)), ""); got != http.StatusUpgradeRequired {
			t.Errorf("a WebSocket without its upgrade is answered with %d", got)
		}
	}
}

// badGateway: what stands between got no answer, and says so.
func badGateway(err error) bool {
	var r refused
	return errors.As(err, &r) && (r.status == http.StatusBadGateway || r.status == http.StatusServiceUnavailable)
}

const messages = 40

func (e *experiment) publish(t *testing.T) {
	room := "publish"
	attempts := 0
	for i := range messages {
		r, n, err := e.path.publish(e.ctx, room, fmt.Sprint("key", i), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		attempts += n
		if r.Offset != int64(i+1) {
			t.Errorf("message %d has offset %d", i, r.Offset)
		}
	}
	h, err := e.direct.history(e.ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	if l := audit(numbers(h), messages); !l.clean() || len(h) != messages {
		t.Errorf("lost/repeated/out of order %v, %d messages", l, len(h))
	}
	t.Logf("%d messages in %d attempts", messages, attempts)
}

// read follows a room while it is written to, and gives every connection up
// after seven messages; where the box is ours, it cuts as well.
func (e *experiment) read(t *testing.T, f form) {
	room := "read-" + string(f)
	begin, err := e.direct.newest(e.ctx, room)
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for i := range messages {
			if _, err := e.direct.publishOnce(e.ctx, room, fmt.Sprint("key", i), fmt.Sprint(i)); err != nil {
				written <- err
				return
			}
			if i%10 == 9 {
				for _, b := range e.path.boxes {
					b.Cut()
				}
			}
			pause(e.ctx, 10*time.Millisecond)
		}
		written <- nil
	}()
	got, err := e.path.follow(e.ctx, f, room, begin, messages, 7)
	if wrong := <-written; wrong != nil {
		t.Fatal(wrong)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := contiguous(got); err != nil {
		t.Error(err)
	}
	if l := audit(numbers(got), messages); !l.clean() {
		t.Errorf("lost/repeated/out of order %v", l)
	}
}
