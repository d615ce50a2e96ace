package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

// course is one run from its beginning to its end.
type course struct {
	*run
	pid    int // of the server, 0 where it is not known
	server *server
	result *report.Result
	before usage.Cost // any subscriber came
	tcp    int64      // the kernel's memory for TCP then

	nextChurn int // whose turn it is
	looked    time.Duration
}

// follow goes through the phases. What the result says up to an error is valid.
func (c *course) follow() error {
	if err := c.baseline(); err != nil {
		return err
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.idle(); err != nil {
		return err
	}
	err := c.traffics()
	if errors.Is(context.Cause(c.ctx), context.Canceled) {
		return err // interrupted: what is on its way is not lost
	}
	for _, s := range c.subs {
		if n := s.behind(); n > 0 && !s.given {
			c.checks.Lost += n
		}
	}
	if errors.Is(err, errNothing) && c.checks.Faults() > 0 {
		c.faults.add(err) // what did not happen has been counted
		err = nil
	}
	return err
}

// traffics is everything behind the idle connections.
func (c *course) traffics() error {
	if c.o.duration > 0 || c.o.messages > 0 {
		if err := c.measure(); err != nil {
			return err
		}
	}
	if c.o.storm > 0 {
		if err := c.storm(); err != nil {
			return err
		}
	}
	return c.until("everybody has caught up", func() bool { return c.allThere() && c.caughtUp() })
}

// baseline has the server do everything once, so that what it sets up for its
// first client is not taken for the cost of the others.
func (c *course) baseline() error {
	if len(c.main) > 0 {
		// As in a side room, this one takes no place of --outstanding.
		scratch := &room{name: "bench-" + c.id + "-scratch", side: true}
		c.publishers.publish(sent{first: c.record(scratch), n: 1})
		if err := c.until("the first message is published", c.quiet); err != nil {
			return err
		}
		if c.checks.Unanswered > 0 { // so would be all that follow
			return fmt.Errorf("the first message was not taken: %s", c.faults.top(1)[0].Text)
		}
	}
	if err := c.during("settling", min(c.o.settle, 500*time.Millisecond)); err != nil {
		return err
	}
	c.before = c.cost()
	c.tcp, _ = usage.TCPMemory()
	return nil
}

// cost is zero where it is not known.
func (c *course) cost() usage.Cost {
	if c.pid == 0 {
		return usage.Cost{}
	}
	cost, err := usage.Of(c.pid)
	if err != nil {
		c.faults.add(fmt.Errorf("the server's costs: %w", err))
	}
	return cost
}

func (c *course) connect() error {
	began := c.now()
	for _, s := range c.subs {
		c.dialing.now(s)
	}
	err := c.until("connecting", c.allThere)
	took := (c.now() - began).Seconds()
	c.result.Connect = report.Connect{Connections: c.ready, Seconds: took, PerSecond: float64(c.ready) / took}
	if err == nil && c.missing > 0 {
		err = fmt.Errorf("%d of %d subscribers cannot connect%s", c.missing, len(c.subs), c.faults.clause())
	}
	return err
}

func (c *course) allThere() bool { return c.ready+c.missing == len(c.subs) }

func (c *course) idle() error {
	if err := c.during("settling", c.o.settle); err != nil {
		return err
	}
	if c.o.heap != "" {
		if err := c.server.fetchProfile(c.ctx, "heap?gc=1", c.o.heap); err != nil {
			return err
		}
	}
	if n := float64(len(c.subs)); c.pid != 0 && n > 0 {
		now := c.cost()
		if now.RSS == 0 {
			return nil // it has ended
		}
		m := &report.Memory{Before: c.before.RSS, Idle: now.RSS, After: now.RSS}
		m.IdleEach = float64(m.Idle-m.Before) / n
		m.AfterEach = m.IdleEach
		if tcp, err := usage.TCPMemory(); err == nil {
			m.KernelEach = float64(max(tcp-c.tcp, 0)) / n
		}
		c.result.Memory = m
	}
	return nil
}

// mark is how things stood at one moment.
type mark struct {
	at             time.Duration
	server         usage.Cost
	client         time.Duration
	tcp, delivered int64
	reads          int64
}

func (c *course) mark() mark {
	m := mark{at: c.now(), server: c.cost(), delivered: c.delivered, reads: c.reads}
	m.client, _ = usage.Self()
	m.tcp, _ = usage.TCPMemory()
	return m
}

// spent is the server's processor time between two marks; false where it is not
// known at both: a server may have ended.
func (m mark) spent(to mark) (time.Duration, bool) {
	return to.server.CPU - m.server.CPU, m.server.CPU > 0 && to.server.CPU > 0
}

func (c *course) measure() error {
	if c.o.warmUp > 0 {
		c.begin(false, 0)
		if err := c.during("warming up", c.o.warmUp); err != nil {
			return err
		}
		if err := c.stop("the warm-up arrives"); err != nil {
			return err
		}
	}
	for _, s := range c.subs {
		if s.stalls {
			s.stall()
		}
	}
	profile := make(chan error, 1)
	if c.o.profile != "" {
		seconds := max(int((c.o.duration+time.Second-1)/time.Second), 1)
		go func() {
			profile <- c.server.fetchProfile(c.ctx, fmt.Sprintf("profile?seconds=%d", seconds), c.o.profile)
		}()
	} else {
		profile <- nil
	}
	from := c.mark()
	c.begin(true, int64(c.o.messages))
	err := c.run.drive("measuring", func() (bool, error) {
		c.churn(from.at)
		if c.o.messages > 0 {
			return c.traffic.done(), c.stuck()
		}
		return c.now()-from.at >= c.o.duration, c.stuck()
	})
	if err == nil {
		err = c.stop("the last messages arrive")
	}
	c.tally(from, c.mark())
	if err != nil {
		return err
	}
	if err := c.wake(from); err != nil {
		return err
	}
	if now := c.cost(); c.result.Memory != nil && now.RSS > 0 {
		m := c.result.Memory
		m.After = now.RSS
		m.AfterEach = float64(m.After-m.Before) / float64(len(c.subs))
	}
	select {
	case err = <-profile:
	case <-time.After(readyTimeout):
		err = fmt.Errorf("the server's profile does not come")
	}
	return err
}

// stuck fails the run when publishing stands still.
func (c *course) stuck() error {
	if c.ledger.len() > 0 && c.now()-c.progressed > c.o.patience {
		return fmt.Errorf("%w for %s: %s%s", errNothing, c.o.patience, c.state(), c.faults.clause())
	}
	return nil
}

// stop ends publishing and waits until all has arrived.
func (c *course) stop(phase string) error {
	c.traffic.on = false
	return c.until(phase, c.quiet)
}

// churn has clients leave and come back, as many as a second asks for.
func (c *course) churn(began time.Duration) {
	due := int64((c.now() - began).Seconds() * c.o.churn)
	for tries := 0; c.checks.Churned < due && tries < len(c.subs); tries++ {
		s := c.subs[c.nextChurn%len(c.subs)]
		c.nextChurn++
		if s.churns && s.state == stateReady {
			s.leave()
			c.dialing.now(s)
			c.checks.Churned++
		}
	}
}

// tally reports what happened between two marks.
func (c *course) tally(from, to mark) {
	r := c.result
	seconds := (to.at - from.at).Seconds()
	delivered := to.delivered - from.delivered
	published := c.traffic.measuredSent
	r.Traffic = report.Traffic{
		Seconds: seconds, Published: published, Delivered: delivered,
		PublishesPerSecond: float64(published) / seconds, DeliveriesPerSecond: float64(delivered) / seconds,
	}
	r.Latency, r.Publish, r.Side = c.latency.Summary(), c.publishing.Summary(), c.sideLatency.Summary()
	r.Waiting = c.waiting.Summary()
	if reads := to.reads - from.reads; reads > 0 {
		r.Traffic.PerRead = float64(delivered) / float64(reads)
	}
	spent, ok := from.spent(to)
	if !ok {
		return
	}
	r.CPU = &report.CPU{
		ServerSeconds: spent.Seconds(),
		ServerBusy:    spent.Seconds() / seconds,
		ClientBusy:    (to.client - from.client).Seconds() / seconds,
	}
	if spent > 0 {
		r.CPU.KernelPart = min((to.server.Kernel-from.server.Kernel).Seconds()/spent.Seconds(), 1)
	}
	if delivered > 0 {
		r.CPU.PerDelivery = spent.Seconds() * 1e6 / float64(delivered)
	}
	if published > 0 {
		r.CPU.PerPublish = spent.Seconds() * 1e6 / float64(published)
	}
}

// wake has the stalled read again, after it was taken what they hold.
func (c *course) wake(from mark) error {
	n := 0
	for _, s := range c.subs {
		if s.stalls {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	// What others have just read leaves the kernel's account a moment later.
	if err := c.during("settling", 200*time.Millisecond); err != nil {
		return err
	}
	to := c.mark()
	c.result.Stalled = &report.Stalled{
		Count:      n,
		KernelEach: float64(to.tcp-from.tcp) / float64(n),
	}
	if from.server.RSS > 0 && to.server.RSS > 0 {
		c.result.Stalled.UserEach = float64(to.server.RSS-from.server.RSS) / float64(n)
	}
	for _, s := range c.subs {
		if s.stalls {
			s.wake()
		}
	}
	return nil
}

// storm: everybody leaves, misses messages, and comes back at once.
func (c *course) storm() error {
	if err := c.until("everybody has caught up", c.caughtUp); err != nil {
		return err
	}
	for _, s := range c.subs {
		if !s.room.side && !s.given {
			s.steady = false
			s.leave()
		}
	}
	for _, room := range c.main {
		room.steady = 0
	}
	outstanding := 0
	for missed := 0; missed < c.o.storm*len(c.main); {
		err := c.until("messages are missed", func() bool {
			c.ledger.settle()
			for outstanding = c.ledger.len(); outstanding < c.o.publishers && missed < c.o.storm*len(c.main); outstanding++ {
				c.publishMain(1, 0)
				missed++
			}
			return missed == c.o.storm*len(c.main)
		})
		if err != nil {
			return err
		}
	}
	if err := c.until("messages are missed", c.quiet); err != nil {
		return err
	}
	if err := c.during("settling", time.Second); err != nil { // connections end
		return err
	}
	c.stormLag = &report.Histogram{}
	c.begin(false, 1)
	c.traffic.published = 1 // nothing more in the main rooms
	if err := c.during("the side rooms go on", 300*time.Millisecond); err != nil {
		return err
	}
	from := c.mark()
	clients := 0
	for _, s := range c.subs {
		if !s.room.side && !s.given {
			clients++
			c.dialing.now(s)
		}
	}
	err := c.until("everybody comes back", func() bool { return c.allThere() && c.caughtUp() })
	to := c.mark()
	c.result.Storm = &report.Storm{Clients: clients, Missed: c.o.storm, Seconds: (to.at - from.at).Seconds(), Side: c.stormLag.Summary()}
	if spent, ok := from.spent(to); ok && clients > 0 {
		c.result.Storm.PerClient = spent.Seconds() * 1e6 / float64(clients)
	}
	if err != nil {
		return err
	}
	return c.stop("the last messages arrive")
}

// caughtUp looks at most every 20 ms: it looks at everybody.
func (c *course) caughtUp() bool {
	now := c.now()
	if now-c.looked < step {
		return false
	}
	c.looked = now
	for _, s := range c.subs {
		if !s.given && !s.room.side && s.behind() > 0 {
			return false
		}
	}
	return true
}

// report completes the result.
func (c *course) report() *report.Result {
	r := c.result
	r.Checks = c.checks
	r.Errors = c.faults.top(5)
	r.Samples = c.watch.samples
	r.Machine = report.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: usage.Processor(), Cores: runtime.NumCPU(), Go: runtime.Version()}
	return r
}

// finish closes everything.
func (c *course) finish() {
	c.loop.Close()
	if c.server != nil {
		c.server.stop()
	}
}

// serverEnded fails the run when the server that was started ends under it.
func (c *course) serverEnded(cancel context.CancelCauseFunc) {
	<-c.server.over
	cancel(fmt.Errorf("the server ended: %w%s", c.server.end(), c.server.said()))
}
