package middlebox

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

var errKilled = errors.New("middlebox: the connection was killed")

// toClient is the way of bytes to the client: delay, then bandwidth, then the
// byte count at which the connection dies. Close waits until all is written.
func (x *exchange) toClient() io.WriteCloser {
	return x.way(&killer{link: x.link})
}

func (x *exchange) toServer(c net.Conn) io.WriteCloser { return x.way(open{c}) }

func (x *exchange) way(end io.WriteCloser) io.WriteCloser {
	if x.options.BytesPerSecond > 0 {
		end = &pacer{out: end, link: x.link, rate: x.options.BytesPerSecond}
	}
	if x.options.Delay > 0 || x.options.Jitter > 0 {
		end = newDelayLine(x, end)
	}
	return end
}

// open is a writer whose Close does nothing.
type open struct{ io.Writer }

func (open) Close() error { return nil }

// killer writes to the client until the byte count at which it resets.
type killer struct{ link *link }

func (k *killer) Write(p []byte) (int, error) {
	may := k.link.allow(len(p))
	n, err := k.link.client.Write(p[:may])
	if err == nil && may < len(p) {
		k.link.reset()
		err = errKilled
	}
	return n, err
}

func (*killer) Close() error { return nil }

// pacer writes no faster than rate.
type pacer struct {
	out  io.WriteCloser
	link *link
	rate int // bytes per second
}

func (p *pacer) Write(data []byte) (int, error) {
	// Slices of 20 ms: fine enough for a reader not to see steps.
	step := max(p.rate/50, 1)
	written := 0
	for len(data) > 0 {
		part := data[:min(step, len(data))]
		if !p.link.sleep(time.Duration(len(part)) * time.Second / time.Duration(p.rate)) {
			return written, net.ErrClosed
		}
		n, err := p.out.Write(part)
		written += n
		if err != nil {
			return written, err
		}
		data = data[len(part):]
	}
	return written, nil
}

func (p *pacer) Close() error { return p.out.Close() }

// delayLine passes bytes on after a delay, in their order, without slowing
// their sender down.
type delayLine struct {
	x    *exchange
	out  io.WriteCloser
	line chan delayed
	done chan struct{}

	// Owned by the writer.
	due time.Time

	mu  sync.Mutex
	err error // guarded by mu; the first one of out
}

type delayed struct {
	due  time.Time
	data []byte
}

// lineLength is how many writes may be on their way.
const lineLength = 1024

func newDelayLine(x *exchange, out io.WriteCloser) *delayLine {
	d := &delayLine{x: x, out: out, line: make(chan delayed, lineLength), done: make(chan struct{})}
	x.box.wg.Go(func() {
		defer close(d.done)
		for item := range d.line {
			if d.failure() != nil {
				continue
			}
			err := error(net.ErrClosed)
			if x.link.sleep(time.Until(item.due)) {
				_, err = out.Write(item.data)
			}
			d.fail(err)
		}
	})
	return d
}

func (d *delayLine) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *delayLine) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = err
	}
}

func (d *delayLine) Write(p []byte) (int, error) {
	if err := d.failure(); err != nil {
		return 0, err
	}
	due := time.Now().Add(d.x.options.Delay + d.x.box.jitter(d.x.options.Jitter))
	if due.Before(d.due) {
		due = d.due
	}
	d.due = due
	select {
	case d.line <- delayed{due, bytes.Clone(p)}:
		return len(p), nil
	case <-d.x.link.ctx.Done():
		return 0, net.ErrClosed
	}
}

func (d *delayLine) Close() error {
	close(d.line)
	<-d.done
	return errors.Join(d.failure(), d.out.Close())
}

// hold puts the options that keep bodies back in front of out.
func (x *exchange) hold(out io.WriteCloser) io.WriteCloser {
	o := x.options
	if o.Batch > 0 {
		out = newBatcher(x, out, o.Batch)
	}
	switch {
	case o.Hold != HoldNothing:
		out = &lumper{out: out, size: -1}
	case o.HoldFirst > 0:
		out = &lumper{out: out, size: o.HoldFirst, once: true}
	case o.Lumps > 0:
		out = &lumper{out: out, size: o.Lumps}
	}
	return out
}

// lumper passes bytes on in lumps of size; -1: all at the end; once: after the
// first lump as they come.
type lumper struct {
	out  io.WriteCloser
	size int
	once bool

	kept   []byte
	opened bool
}

func (l *lumper) Write(p []byte) (int, error) {
	if l.opened {
		return l.out.Write(p)
	}
	l.kept = append(l.kept, p...)
	for l.size > 0 && len(l.kept) >= l.size && !l.opened {
		lump := l.kept[:l.size]
		if l.once {
			l.opened, lump = true, l.kept
		}
		if _, err := l.out.Write(lump); err != nil {
			return 0, err
		}
		l.kept = l.kept[len(lump):]
	}
	return len(p), nil
}

func (l *lumper) Close() error {
	var err error
	if len(l.kept) > 0 {
		_, err = l.out.Write(l.kept)
	}
	return errors.Join(err, l.out.Close())
}

// batcher passes on what came, at intervals.
type batcher struct {
	out  io.WriteCloser
	stop chan struct{}
	done chan struct{}

	mu   sync.Mutex
	kept []byte // guarded by mu
	err  error  // guarded by mu
}

func newBatcher(x *exchange, out io.WriteCloser, every time.Duration) *batcher {
	b := &batcher{out: out, stop: make(chan struct{}), done: make(chan struct{})}
	x.box.wg.Go(func() {
		defer close(b.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.flush()
			case <-b.stop:
				return
			}
		}
	})
	return b
}

func (b *batcher) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) == 0 || b.err != nil {
		return
	}
	_, b.err = b.out.Write(b.kept)
	b.kept = nil
}

func (b *batcher) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

func (b *batcher) Close() error {
	close(b.stop)
	<-b.done
	b.flush()
	b.mu.Lock()
	err := b.err
	b.mu.Unlock()
	return errors.Join(err, b.out.Close())
}
