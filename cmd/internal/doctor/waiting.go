package doctor

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// fate is what becomes of something that should last.
type fate struct {
	lasted  bool
	silent  bool // it was not ended, and nothing passes any more
	drained bool // the server ended it, and said so
	after   time.Duration
	spent   bool // it was not tested
	why     string
	failed  int // tries before, for reasons that have nothing to do with how long it took
}

func (f fate) words(lasted string) string {
	switch {
	case f.spent:
		return f.why
	case f.lasted:
		return lasted + " after " + seconds(f.after) + " s"
	case f.silent:
		return "silent after " + seconds(f.after) + " s"
	}
	return "cut after " + seconds(f.after) + " s"
}

// wait is a test that takes long and only waits.
type wait struct {
	test  func(context.Context) fate
	lives int       // of the server, when it began
	done  chan fate // nil where it does not run
}

// beside begins what takes long beside the other tests, or, where they would be
// in each other's way, when it is asked for.
func (d *doctor) beside(ctx context.Context, test func(context.Context) fate) *wait {
	w := &wait{test: test}
	if !d.crowded {
		d.begin(ctx, w)
	}
	return w
}

func (d *doctor) begin(ctx context.Context, w *wait) {
	if w.done == nil {
		done := make(chan fate, 1)
		w.lives, w.done = d.lives, done
		d.running.Go(func() { done <- w.test(ctx) })
	}
}

// waits are the tests that only wait; nil where there was nothing to wait for.
type waits struct{ busy, idle, flow, poll *wait }

// named is one of them, with its name and what became of it.
type named struct {
	id, title, lasted string
	*wait
	fate fate
}

// waiting waits for them.
func (d *doctor) waiting(ctx context.Context, w waits) {
	all := []named{
		{"ws-busy", "WebSocket in use", "alive", w.busy, fate{spent: true, why: noWebSocket}},
		{"ws-idle", "WebSocket without traffic", "alive", w.idle, fate{spent: true, why: noWebSocket}},
		{"stream-long", "Stream with an event a second", "alive", w.flow, fate{spent: true, why: noStream}},
		{"poll-long", "Longest poll", "answered", w.poll, fate{spent: true}},
	}
	id, title := "waiting", "Long connections"
	for again := false; ; again = true {
		restarted := false
		d.tell(id, fmt.Sprintf("%s, %s s", title, seconds(max(d.o.Idle, d.o.Wait))), func() (state State, words string) {
			if d.gone == "" {
				state, words = d.outlive(ctx, all, again)
			}
			switch {
			case d.gone != "":
				return Bad, wentAway
			case words == notJudged:
				if restarted = true; !again {
					words = onceMore
				}
			}
			return state, words
		})
		if !restarted || again {
			break
		}
		d.find("restarted")
		id, title = "waiting-again", "Long connections again"
	}
	if d.gone == "" {
		for _, one := range all {
			d.failed += one.fate.failed
		}
		d.judgeWaiting(all[1].fate, all[0].fate, all[2].fate, all[3].fate)
	}
	for _, one := range all {
		if d.gone != "" && one.fate.spent {
			one.fate.why = wentAway
		}
		state := Note
		switch {
		case one.fate.spent:
			state = Skipped
		case one.fate.lasted:
			state = Good
		}
		d.tell(one.id, one.title, func() (State, string) { return state, one.fate.words(one.lasted) })
	}
}

// outlive waits for all tests, or again for those that the server's own restart
// fell into.
func (d *doctor) outlive(ctx context.Context, all []named, again bool) (State, string) {
	for i := range all {
		if one := &all[i]; one.wait != nil && (!again || one.fate.why == notJudged) {
			d.begin(ctx, one.wait)
		}
	}
	whole := true
	for i := range all {
		if one := &all[i]; one.wait != nil && one.done != nil {
			one.fate, one.done = <-one.done, nil
		}
		whole = whole && (all[i].fate.lasted || all[i].fate.spent)
	}
	if whole {
		return Good, "all lived as long"
	}
	state, words := Note, "not all lived as long"
	if d.look(ctx); d.gone != "" {
		return state, words
	}
	for i := range all {
		if one := &all[i]; one.wait != nil && !one.fate.lasted && (one.fate.drained || one.lives != d.lives) {
			one.fate = fate{spent: true, why: notJudged}
			state, words = Skipped, notJudged
		}
	}
	return state, words
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
		case a.err == nil && a.status == http.StatusOK && saysDraining(a.body):
			f.drained, f.after = true, a.took
			return f
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
	d.lasts["websocket"] = (busy.lasted || busy.why == notJudged) && (idle.lasted || idle.why == notJudged)
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
