package redis

import (
	"sync"
	"time"
)

// life counts what is under way, so that Close can wait for it.
type life struct {
	stopped chan struct{} // closed by stop
	work    sync.WaitGroup

	mu    sync.Mutex
	ended bool // guarded by mu
}

func newLife() *life { return &life{stopped: make(chan struct{})} }

// begin counts a call or a goroutine in; false means that the store is closed.
func (l *life) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.work.Add(1)
	return true
}

func (l *life) end() { l.work.Done() }

// stop lets nothing begin any more; false where that was so already.
func (l *life) stop() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.ended = true
	close(l.stopped)
	return true
}

func (l *life) closed() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// sleep waits, and reports false if the store was closed meanwhile.
func (l *life) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.stopped:
		return false
	}
}
