package doctor

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// fate is what becomes of something that should last.
type fate struct {
	lasted bool
	silent bool // it was not ended, and nothing passes any more
	after  time.Duration
	spent  bool // it was not tested
	failed int  // tries before, for reasons that have nothing to do with how long it took
}

func (f fate) words(lasted string) string {
	switch {
	case f.spent:
		return ""
	case f.lasted:
		return lasted + " after " + seconds(f.after) + " s"
	case f.silent:
		return "silent after " + seconds(f.after) + " s"
	}
	return "cut after " + seconds(f.after) + " s"
}

// wait is a test that takes long and only waits.
type wait struct {
	begin func()
	done  chan struct{} // closed when fate is there
	fate  fate
}

// beside begins what takes long beside the other tests, or, where they would be
// in each other's way, when it is asked for.
func (d *doctor) beside(ctx context.Context, test func(context.Context) fate) *wait {
	w := &wait{done: make(chan struct{})}
	w.begin = sync.OnceFunc(func() {
		d.running.Go(func() {
			defer close(w.done)
			w.fate = test(ctx)
		})
	})
	if !d.crowded {
		w.begin()
	}
	return w
}

// waits are the tests that only wait; nil where there was nothing to wait for.
type waits struct{ busy, idle, flow, poll *wait }

// waiting waits for them.
func (d *doctor) waiting(ctx context.Context, w waits) {
	named := []struct {
		id, title, lasted string
		*wait
		fate fate
	}{
		{"ws-busy", "WebSocket in use", "alive", w.busy, fate{spent: true}},
		{"ws-idle", "WebSocket without traffic", "alive", w.idle, fate{spent: true}},
		{"stream-long", "Stream with an event a second", "alive", w.flow, fate{spent: true}},
		{"poll-long", "Longest poll", "answered", w.poll, fate{spent: true}},
	}
	long := max(d.o.Idle, d.o.Wait)
	d.step("waiting", fmt.Sprintf("Long connections, %s s", seconds(long)), func() (State, string) {
		state, words := Good, "all lived as long"
		for _, one := range named {
			if one.wait != nil {
				one.begin()
			}
		}
		for i, one := range named {
			if one.wait == nil {
				continue
			}
			<-one.done
			named[i].fate = one.wait.fate
			d.failed += one.wait.fate.failed
			if f := one.wait.fate; !f.lasted && !f.spent {
				state, words = Note, "not all lived as long"
			}
		}
		if state == Note && d.goneNow(ctx) {
			return Bad, "the server went out of reach"
		}
		d.judgeWaiting(named[1].fate, named[0].fate, named[2].fate, named[3].fate)
		return state, words
	})
	for _, one := range named {
		state := Note
		switch {
		case one.fate.spent:
			state = Skipped
		case one.fate.lasted:
			state = Good
		}
		d.step(one.id, one.title, func() (State, string) { return state, one.fate.words(one.lasted) })
	}
}

// goneNow looks whether the server is still there where something was cut. A
// server that has ended took everything with it, which is no limit of a network.
func (d *doctor) goneNow(ctx context.Context) bool {
	client := d.newClient() // a connection from before may be what was cut
	defer client.CloseIdleConnections()
	var a answer
	for try := range 4 {
		if try > 0 && !pause(ctx, time.Second/2) {
			return false
		}
		path := d.once(echoPath)
		a = d.askBy(ctx, client, d.o.Patience, http.MethodGet, path, "")
		if _, err := readEcho(a, path); err == nil || ctx.Err() != nil {
			return false
		}
	}
	d.find("gone", "error", a.words())
	return true
}

// longPoll asks for a poll as long as the protocol allows. What fails at once
// has not failed for its length.
func (d *doctor) longPoll(ctx context.Context) (f fate) {
	// On a connection of its own: a request that fails on one that was used
	// before is sent again by net/http, which would hide when it was cut.
	client := d.newClient()
	defer client.CloseIdleConnections()
	for f.failed = 0; ; f.failed++ {
		path := d.once(fmt.Sprintf("/rooms/%s/poll?wait=%d", d.room("wait"), int(d.o.Wait.Seconds())))
		a := d.askBy(ctx, client, d.o.Wait+d.o.Patience, http.MethodGet, path, "")
		switch {
		case a.err == nil && a.status == http.StatusOK:
			f.lasted, f.after = true, a.took
			return f
		case a.err != nil && !broke(a.err):
			f.silent, f.after = true, d.o.Wait
			return f
		case a.took > time.Second || f.failed == 2 || ctx.Err() != nil:
			f.after = a.took
			return f
		}
	}
}

// judgeWaiting tells one cause from another by what else lived on.
func (d *doctor) judgeWaiting(idle, busy, flow, poll fate) {
	d.lasts["websocket"] = busy.lasted && idle.lasted
	switch {
	case busy.spent || busy.lasted:
	case busy.silent:
		d.find("ws_goes_silent", "seconds", seconds(busy.after))
	default:
		d.find("ws_age", "seconds", seconds(busy.after))
	}
	if busy.lasted && !idle.spent && !idle.lasted {
		if idle.silent {
			d.find("idle_forgotten", "seconds", seconds(idle.after))
		} else {
			d.find("idle_cut", "seconds", seconds(idle.after))
		}
	}
	if !flow.spent && !flow.lasted {
		d.find("response_cap", "seconds", seconds(flow.after))
		return
	}
	switch {
	case poll.lasted:
	case poll.silent:
		d.find("idle_forgotten", "seconds", seconds(poll.after))
	case flow.lasted:
		d.find("idle_cut", "seconds", seconds(poll.after))
	default:
		d.find("poll_cut", "seconds", seconds(poll.after))
	}
}
