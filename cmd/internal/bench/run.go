package bench

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/netloop"
	"github.com/culvertd/culvert/cmd/internal/bench/parse"
	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// awake is how long a bench that has a core of its own looks for more before it
// sleeps: over the pauses within a message's fan-out, not over those between two
// paced messages.
const awake = 2 * time.Millisecond

// run is a run under way. Everything in it belongs to its goroutine.
type run struct {
	o     *options
	ctx   context.Context
	loop  *netloop.Loop
	host  string // of requests
	extra string // header lines of every request
	id    string // of the run, in the names of its rooms
	began time.Time
	err   error // why it cannot go on

	main, side []*room
	subs       []*subscriber // of the main rooms, then of the side rooms
	dialing    dialing
	ready      int // subscribers
	missing    int // subscribers that were given up

	publishers, sidePublishers pool
	ledger                     *ledger
	traffic                    traffic

	delivered             int64 // messages, to any subscriber
	reads                 int64 // by which they came
	progressed            time.Duration
	latency, publishing   *report.Histogram
	waiting               *report.Histogram // of messages that were due, for a publisher
	sideLatency, stormLag *report.Histogram
	checks                report.Checks
	faults                faults
	watch                 *watch
	inflater              parse.Inflater
	seed                  maphash.Seed // of the sums of envelopes
}

func newRun(ctx context.Context, o *options) (*run, error) {
	r := &run{
		o: o, ctx: ctx, began: time.Now(), ledger: newLedger(), faults: faults{}, seed: maphash.MakeSeed(),
		id:      strings.ToLower(rand.Text()[:8]),
		host:    o.target.Host,
		latency: &report.Histogram{}, publishing: &report.Histogram{}, sideLatency: &report.Histogram{}, waiting: &report.Histogram{},
	}
	for _, h := range o.headers {
		name, value, _ := strings.Cut(h, ":")
		r.extra += name + ": " + strings.TrimSpace(value) + "\r\n"
	}
	address, port := o.target.Host, o.target.Port()
	to := netloop.Options{Portable: o.portable}
	if o.clientCore >= 0 {
		to.Awake = awake
	}
	if o.target.Scheme == "https" {
		to.TLS = &tls.Config{ServerName: o.target.Hostname(), InsecureSkipVerify: o.insecureTLS}
	}
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[o.target.Scheme]
		address = net.JoinHostPort(o.target.Hostname(), port)
	}
	to.Address = address
	var err error
	if r.loop, err = netloop.New(ctx, to); err != nil {
		return nil, err
	}
	r.populate()
	return r, nil
}

// populate makes rooms and their subscribers.
func (r *run) populate() {
	for i := range r.o.rooms {
		r.main = append(r.main, &room{name: fmt.Sprintf("bench-%s-%d", r.id, i)})
	}
	for i := range r.o.sideRooms {
		r.side = append(r.side, &room{name: fmt.Sprintf("bench-%s-side-%d", r.id, i), side: true})
	}
	mixed := []string{transportWS, transportSSE, transportNDJSON, transportPoll}
	for i := range r.o.subscribers {
		transport := r.o.transport
		if transport == transportMixed {
			transport = mixed[i%len(mixed)]
		}
		r.subscribe(r.main[i%len(r.main)], transport)
	}
	for i, s := range r.subs {
		s.stalls, s.churns = r.o.role(i)
	}
	for _, side := range r.side {
		for range r.o.sideSubs {
			r.subscribe(side, transportWS)
		}
	}
	for _, s := range r.subs {
		if s.steady = !s.stalls && !s.churns; s.steady {
			s.room.steady++
		}
	}
	for _, room := range r.main {
		if len(room.subs) >= cachedFrom {
			room.recent = make([]seen, recentMessages)
		}
	}
	r.publishers.open(r, r.o.publishers, r.o.publish)
	if len(r.side) > 0 {
		r.sidePublishers.open(r, sidePublishers, publishHTTP)
	}
}

func (r *run) subscribe(to *room, transport string) {
	s := &subscriber{run: r, room: to, transport: transport}
	to.subs = append(to.subs, s)
	r.subs = append(r.subs, s)
}

// sidePublishers is how many publish into the side rooms: enough that none waits
// for another's answer where the server takes its time.
const sidePublishers = 8

// now is the run's clock.
func (r *run) now() time.Duration { return time.Since(r.began) }

// fail ends the run.
func (r *run) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// progress says that the server has done something.
func (r *run) progress() { r.progressed = r.now() }

// step is the longest that the loop waits: housekeeping is done as often.
const step = 20 * time.Millisecond

// errNothing is a server that stands still.
var errNothing = errors.New("nothing happened")

// until drives all connections until done. Where the server does nothing for
// too long meanwhile, the run fails.
func (r *run) until(phase string, done func() bool) error {
	r.progress()
	return r.drive(phase, func() (bool, error) {
		if done() {
			return true, nil
		}
		if r.now()-r.progressed > r.o.patience {
			return false, fmt.Errorf("%w for %s while %s: %s%s", errNothing, r.o.patience, phase, r.state(), r.faults.clause())
		}
		return false, nil
	})
}

// during drives all connections for a time.
func (r *run) during(phase string, d time.Duration) error {
	end := r.now() + d
	return r.drive(phase, func() (bool, error) { return r.now() >= end, nil })
}

func (r *run) drive(phase string, done func() (bool, error)) error {
	r.watch.phase = phase
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		now := r.now()
		more := r.dial(now)
		r.publishers.dial(now)
		r.sidePublishers.dial(now)
		wait := min(step, r.publishDue(now))
		if more {
			wait = 0
		}
		r.watch.tick(now)
		r.ledger.settle()
		ok, err := done()
		if err == nil {
			err = r.err
		}
		if ok || err != nil {
			return err
		}
		if err := r.loop.Wait(wait); err != nil {
			return err
		}
	}
}

// state says how far things are, in words.
func (r *run) state() string {
	text := fmt.Sprintf("%d of %d subscribers are connected", r.ready, len(r.subs))
	if n := r.ledger.len(); n > 0 {
		text += fmt.Sprintf(", %d messages are on their way", n)
	}
	return text
}

// faults counts errors by their text.
type faults map[string]int64

// maxFaults bounds how many texts there are.
const maxFaults = 50

var errOther = errors.New("other errors")

func (f faults) add(err error) {
	text := err.Error()
	if _, ok := f[text]; !ok && len(f) >= maxFaults {
		text = errOther.Error()
	}
	f[text]++
}

// top returns the most frequent ones.
func (f faults) top(n int) []report.Fault {
	var all []report.Fault
	for text, count := range f {
		all = append(all, report.Fault{Text: text, Count: count})
	}
	slices.SortFunc(all, func(a, b report.Fault) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Text, b.Text))
	})
	return all[:min(n, len(all))]
}

func (f faults) clause() string {
	if len(f) == 0 {
		return ""
	}
	top := f.top(1)[0]
	return fmt.Sprintf("; most often: %s (%s)", top.Text, report.Times(top.Count))
}
