package storetest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/culvertd/culvert/hub"
)

var lifeLaws = []law{
	{"Ping", func(e *env) {
		s := e.open(Options{})
		if err := s.Ping(e.ctx); err != nil {
			e.Fatal(err)
		}
	}},
	{"CancelledBeforeItBegan", func(e *env) {
		s := e.open(Options{})
		first := e.must(message("room", "x")).Position
		ctx, cancel := context.WithCancel(e.ctx)
		cancel()
		start := time.Now()
		for _, r := range s.Publish(ctx, []hub.Publish{message("room", "y"), e.keyed("room", "u", "k", "z"), message("other", "y")}) {
			e.wantErr(r.Err, hub.ErrUnavailable)
		}
		_, err := s.Read(ctx, hub.ReadRequest{Room: "room", Limit: 1})
		ctxErr := func(what string, err error) {
			e.Helper()
			if !errors.Is(err, hub.ErrUnavailable) && !errors.Is(err, context.Canceled) {
				e.Errorf("%s: %v", what, err)
			}
		}
		ctxErr("read", err)
		_, err = s.Heads(ctx, []string{"room"})
		ctxErr("heads", err)
		_, err = s.Watch(ctx, "room", newRecorder())
		ctxErr("watch", err)
		ctxErr("renew", s.Renew(ctx, []hub.Lease{e.lease("a", "n", ample)}))
		ctxErr("release", s.Release(ctx, []hub.Lease{e.lease("a", "n", ample)}))
		_, err = s.Present(ctx, "room", 1)
		ctxErr("present", err)
		ctxErr("ping", s.Ping(ctx))
		if d := time.Since(start); d > patience {
			e.Errorf("calls with an ended context took %v", d)
		}
		if h := e.head("room"); h != first {
			e.Errorf("a publish with an ended context was applied: head %v", h)
		}
		e.wantPresent()
		e.must(e.keyed("room", "u", "k", "other content")) // and left no key
	}},
	{"PastItsDeadline", func(e *env) {
		s := e.open(Options{})
		ctx, cancel := context.WithDeadline(e.ctx, time.Now().Add(-time.Second))
		defer cancel()
		e.wantErr(s.Publish(ctx, []hub.Publish{message("room", "y")})[0].Err, hub.ErrUnavailable)
		if h := e.head("room"); !h.IsZero() {
			e.Errorf("it was applied: %v", h)
		}
	}},
	{"AfterClose", func(e *env) {
		s := e.open(Options{})
		e.fill("room", 1)
		w, stop := e.watch(s, "room")
		if err := s.Close(); err != nil {
			e.Fatal(err)
		}
		heard := len(w.heard())
		for _, r := range s.Publish(e.ctx, []hub.Publish{message("room", "y"), message("other", "y")}) {
			e.wantErr(r.Err, hub.ErrClosed)
		}
		_, err := s.Read(e.ctx, hub.ReadRequest{Room: "room", Limit: 1})
		e.wantErr(err, hub.ErrClosed)
		_, err = s.Heads(e.ctx, []string{"room"})
		e.wantErr(err, hub.ErrClosed)
		_, err = s.Watch(e.ctx, "room", newRecorder())
		e.wantErr(err, hub.ErrClosed)
		e.wantErr(s.Renew(e.ctx, []hub.Lease{e.lease("a", "n", ample)}), hub.ErrClosed)
		e.wantErr(s.Release(e.ctx, []hub.Lease{e.lease("a", "n", ample)}), hub.ErrClosed)
		_, err = s.Present(e.ctx, "room", 1)
		e.wantErr(err, hub.ErrClosed)
		e.wantErr(s.Ping(e.ctx), hub.ErrClosed)
		stop()
		if err := s.Close(); err != nil {
			e.Errorf("closing again: %v", err)
		}
		if len(w.heard()) != heard {
			e.Error("a watcher was called after Close")
		}
	}},
	{"CloseWhileBusy", func(e *env) {
		s := e.open(Options{})
		done := make(chan error, 8)
		started := make(chan struct{}, 8)
		for range 8 {
			go func() {
				begun := false
				for {
					r := s.Publish(e.ctx, []hub.Publish{message("room", "y"), message("other", "y")})[1]
					if r.Err != nil {
						if !begun {
							started <- struct{}{}
						}
						done <- r.Err
						return
					}
					if !begun {
						begun = true
						started <- struct{}{}
					}
				}
			}()
		}
		for range 8 {
			<-started
		}
		if err := s.Close(); err != nil {
			e.Fatal(err)
		}
		for range 8 {
			select {
			case err := <-done:
				if !errors.Is(err, hub.ErrClosed) && !errors.Is(err, hub.ErrUnavailable) && !errors.Is(err, hub.ErrOutcomeUnknown) {
					e.Errorf("a publish under way got %v", err)
				}
			case <-time.After(patience):
				e.Fatal("a publish goes on after Close")
			}
		}
	}},
	{"CloseLeavesNoGoroutine", func(e *env) {
		before := storeGoroutines(e.b.Goroutines)
		s := e.open(Options{})
		for _, room := range []string{"a", "b", "c"} {
			w, _ := e.watch(s, room)
			e.wantHeard(w, e.fill(room, 3)[2].ID)
			e.renew(hub.Lease{Room: room, Client: "c", Holder: "n", TTL: e.span(1)})
		}
		if err := s.Close(); err != nil {
			e.Fatal(err)
		}
		deadline := time.Now().Add(patience)
		for {
			left := storeGoroutines(e.b.Goroutines)
			if len(left) <= len(before) {
				return
			}
			if time.Now().After(deadline) {
				e.Fatalf("%d goroutines more than before:\n%s", len(left)-len(before), strings.Join(left, "\n\n"))
			}
			runtime.Gosched()
		}
	}},
}

// storeGoroutines are the stacks of goroutines that work for a store.
func storeGoroutines(marks []string) (found []string) {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "testing.tRunner") || strings.Contains(stack, "testing.(*T)") {
			continue
		}
		for _, mark := range append([]string{"culvert/store/"}, marks...) {
			if strings.Contains(stack, mark) {
				found = append(found, stack)
				break
			}
		}
	}
	return found
}
