package poll

import (
	"context"
	"sync"
)

// serving counts what is being served.
type serving struct {
	mu   sync.Mutex
	n    int             // guarded by mu
	none []chan struct{} // guarded by mu; closed when n is 0
}

func (s *serving) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n += n; s.n > 0 {
		return
	}
	for _, c := range s.none {
		close(c)
	}
	s.none = nil
}

// over is closed when nothing is being served.
func (s *serving) over() <-chan struct{} {
	c := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		close(c)
	} else {
		s.none = append(s.none, c)
	}
	return c
}

// work runs f, which serves publishes, on a goroutine of its own.
func (p *Handler) work(f func()) {
	p.serving.add(1)
	p.running.Go(func() {
		defer p.serving.add(-1)
		f()
	})
}

// Drain closes the connections that have nothing under way, and waits until the
// publishes that are have been answered, or ctx ends. Polls are the hub's to
// answer.
func (p *Handler) Drain(ctx context.Context) error {
	p.closeIdle()
	over := p.serving.over()
	select {
	case <-over:
		return nil
	default:
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
