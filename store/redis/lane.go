package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

const (
	// fenceTTL is how long Redis keeps the number and the answer of a lane's
	// last call. It is longer than any call may be repeated for: see lateness.
	fenceTTL = 2 * time.Minute
	// lateness is for how long past PublishTimeout a call may still take
	// effect. It is there for what the estimate of Redis' clock may be wrong
	// by, and PublishTimeout (60 s at most) with it stays below fenceTTL.
	lateness = 5 * time.Second
	// A repetition waits between these, longer each time.
	firstPause, longestPause = 5 * time.Millisecond, 250 * time.Millisecond
)

var (
	errNoAnswer = errors.New("redis: no answer in time")
	errFull     = fmt.Errorf("%w: too many publishes wait for Redis", hub.ErrUnavailable)
	errStale    = errors.New("redis: its clock is ahead of what it was")
	errFenced   = errors.New("redis: the call was overtaken")
)

// lane is the queue of the publishes of some partitions. It has one call of the
// publish script under way at a time: what comes meanwhile gathers and goes out
// together in the next. A goroutine runs only while there is something to send.
type lane struct {
	store *Store // set once
	fence string // key, set once

	mu      sync.Mutex
	queue   []*item // guarded by mu
	running bool    // guarded by mu: drain runs

	// Owned by drain.
	sequence uint64
	batch    []*item
	command  command
}

// push queues an item. start has to follow.
func (l *lane) push(it *item) error {
	size := int64(it.size())
	if l.store.queuedBytes.Add(size) > int64(l.store.opt.QueueBytes) {
		l.store.queuedBytes.Add(-size)
		return errFull
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= l.store.opt.QueueLen {
		l.store.queuedBytes.Add(-size)
		return errFull
	}
	l.queue = append(l.queue, it)
	return nil
}

// start sees to it that what was pushed is sent.
func (l *lane) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running || len(l.queue) == 0 {
		return
	}
	l.running = true
	l.store.life.work.Add(1) // the caller is counted itself, so this is not from zero
	go l.drain()
}

// leave is for a caller that does not wait any longer: what was not sent yet
// will not be, and of what was, the outcome is unknown.
func (l *lane) leave(it *item, why error) hub.Result {
	l.mu.Lock()
	state := it.state
	it.left = true
	if state == queued {
		it.state = dropped
	}
	l.mu.Unlock()
	switch state {
	case settled:
		return it.result
	case queued:
		l.store.finish(it) // the key is free at once; the place in the queue when take comes by
		if errors.Is(why, hub.ErrClosed) {
			return hub.Result{Err: why}
		}
		return hub.Result{Err: fmt.Errorf("%w: %w", hub.ErrUnavailable, why)}
	}
	return hub.Result{Err: fmt.Errorf("%w: %w", hub.ErrOutcomeUnknown, why)}
}

// drain sends until nothing is left.
func (l *lane) drain() {
	defer l.store.life.work.Done()
	for {
		// Those whose results have just been handed out, and others who are about
		// to publish, go first: else the next call would go out with the first of
		// them alone.
		runtime.Gosched()
		if !l.take() {
			return
		}
		results, err := l.send()
		l.settle(results, err)
	}
}

// take moves the next items from the queue to the batch.
func (l *lane) take() bool {
	clear(l.batch)
	l.batch = l.batch[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	bytes, n := 0, 0
	for _, it := range l.queue {
		if len(l.batch) >= l.store.opt.BatchLen || len(l.batch) > 0 && bytes+it.size() > l.store.opt.BatchBytes {
			break
		}
		n++
		if it.state == dropped {
			l.store.queuedBytes.Add(-int64(it.size()))
			continue
		}
		it.state = sent
		bytes += it.size()
		l.batch = append(l.batch, it)
	}
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	if rest == 0 && cap(l.queue) > 1024 { // what a burst has made large need not stay so
		l.queue = nil
	}
	l.running = len(l.batch) > 0
	return l.running
}

// settle hands the results out.
func (l *lane) settle(results []hub.Result, err error) {
	l.mu.Lock()
	for i, it := range l.batch {
		if err != nil {
			it.result = hub.Result{Err: err}
		} else {
			it.result = results[i]
		}
		it.state = settled
	}
	l.mu.Unlock()
	for _, it := range l.batch {
		l.store.queuedBytes.Add(-int64(it.size()))
		l.store.finish(it)
	}
}

// refuse empties the queue.
func (l *lane) refuse(err error) {
	l.mu.Lock()
	waiting := l.queue
	l.queue = nil
	for _, it := range waiting {
		if it.state == queued {
			it.state = settled
			it.result = hub.Result{Err: err}
		}
	}
	l.mu.Unlock()
	for _, it := range waiting {
		l.store.queuedBytes.Add(-int64(it.size()))
		if it.state == settled {
			l.store.finish(it)
		}
	}
}

// abandoned reports whether nobody waits for anything in the batch.
func (l *lane) abandoned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.batch {
		if !it.left {
			return false
		}
	}
	return true
}

// send makes one call of the batch, and repeats it while it is unknown whether
// it took effect. The error is for all of the batch.
func (l *lane) send() ([]hub.Result, error) {
	s := l.store
	l.sequence++
	start := time.Now()
	end := start.Add(s.opt.PublishTimeout)
	pause := firstPause
	written := false // some try may have taken effect
	for tries := 1; ; tries++ {
		results, certain, err := l.try()
		if err == nil {
			return results, nil
		}
		switch {
		case !certain:
			written = true
		case worthRetrying(err, tries, start):
		case !written:
			return nil, unavailable(err)
		default:
			// This call has to go on asking, but there is no queue for a Redis
			// that is away: who came after it is told at once.
			l.refuse(unavailable(err))
		}
		if isReply(err) && !certain {
			// The script broke half way: a repetition might do its first half
			// twice. This is a defect, and told as what it is.
			s.opt.Logger.Error("publish script failed", "error", err)
			return nil, fmt.Errorf("%w: %w", hub.ErrOutcomeUnknown, err)
		}
		if time.Until(end) < pause || l.abandoned() || !s.life.sleep(jitter(pause)) {
			if !written {
				return nil, unavailable(err)
			}
			return nil, fmt.Errorf("%w: %w", hub.ErrOutcomeUnknown, err)
		}
		pause = min(2*pause, longestPause)
	}
}

// worthRetrying says whether a call that was tried so often since start, and was
// certainly not applied, should be made again at once: when the clock jumped, or
// only the connection had died; once when it had fallen silent; but not where
// Redis refuses or cannot be reached.
func worthRetrying(err error, tries int, start time.Time) bool {
	switch {
	case errors.Is(err, errStale):
		return true
	case isReply(err), errors.Is(err, errDial), time.Since(start) > time.Second:
		return false
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return tries == 1
	}
	return true
}

// try makes the call once. Where it fails, certain says that this try certainly
// had no effect and never will have.
func (l *lane) try() (results []hub.Result, certain bool, err error) {
	s := l.store
	notAfter := s.clock.now() + (s.opt.PublishTimeout + lateness).Milliseconds()
	l.command.write(s, l.fence, l.sequence, notAfter, l.batch)
	before := s.conns.sent.Load()
	// Without a context: the connection is given up when it owes an answer for
	// too long, and a context of each call would only cost.
	text, err := s.scripts.publish.run(context.Background(), s.client, l.command.keys, l.command.args).ToString()
	if err != nil {
		s.demoted(readOnly(err))
		return nil, refused(err) || !isReply(err) && s.conns.sent.Load() == before, err
	}
	status, lines, _ := strings.Cut(text, "\n")
	if said, ok := strings.CutPrefix(status, "- "); ok {
		return nil, true, refusal(said)
	}
	status, now, _ := strings.Cut(status, " ")
	now, rest, _ := strings.Cut(now, " ")
	s.clock.observe(now)
	switch status {
	case "ok":
		if _, said, ok := strings.Cut(rest, " - "); ok {
			s.complain(said)
		}
		s.demoted(strings.Contains("\n"+lines, "\n- READONLY")) // as XADD in the script says it
		results, err = l.command.results(now, lines, l.batch)
		return results, false, err
	case "stale":
		return nil, true, errStale
	}
	return nil, false, errFenced
}

// complain says, once a minute at most, what Redis refuses to do with messages
// that it has stored.
func (s *Store) complain(said string) {
	now, last := time.Now().Unix(), s.complained.Load()
	if now-last >= 60 && s.complained.CompareAndSwap(last, now) {
		s.opt.Logger.Warn("redis does not let histories be trimmed, or expire: they stay until it does", "error", said)
	}
}

func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
