package transport

import (
	"context"
	"sync"
	"time"
)

// deadline is the context of a publish. It ends at its time and not with its
// client. Most publishes are over before anybody asks for its channel, so it
// makes the timer only when somebody does.
type deadline struct {
	at time.Time // set once

	mu sync.Mutex
	// guarded by mu
	err    error
	timed  context.Context // nil until somebody waits
	cancel context.CancelFunc
}

func newDeadline(d time.Duration) *deadline { return &deadline{at: time.Now().Add(d)} }

// Deadline implements context.Context.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Value implements context.Context.
func (d *deadline) Value(any) any { return nil }

// Done implements context.Context.
func (d *deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timed == nil {
		d.timed, d.cancel = context.WithDeadline(context.Background(), d.at)
		if d.err != nil {
			d.cancel()
		}
	}
	return d.timed.Done()
}

// Err implements context.Context. Once it is not nil, it stays the same.
func (d *deadline) Err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.err != nil:
	case d.timed != nil:
		d.err = d.timed.Err()
	case !time.Now().Before(d.at):
		d.err = context.DeadlineExceeded
	}
	return d.err
}

// end frees what waiting took, when the publish is over.
func (d *deadline) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err == nil {
		d.err = context.Canceled
		if d.timed != nil && d.timed.Err() != nil {
			d.err = d.timed.Err()
		}
	}
	if d.cancel != nil {
		d.cancel()
	}
}
