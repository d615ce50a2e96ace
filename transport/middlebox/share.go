package middlebox

import (
	"io"
	"net/http"
	"time"
)

// maxStored bounds an answer that is kept, and one that is read to be lost.
const maxStored = 1 << 20

// stored is a whole answer.
type stored struct {
	status int
	header http.Header
	body   []byte
	until  time.Time
	bare   bool // made by the box itself

	// For an answer under way.
	ready chan struct{} // closed when the rest is there, or never will be
	good  bool
}

// flight is an answer under way that others may wait for. A nil flight is one
// that nobody shares.
type flight struct {
	io.Writer
	key    string
	merged bool // others may wait
	answer *stored
	kept   keeper
	ttl    time.Duration
}

// keeper keeps what is written, up to maxStored.
type keeper struct {
	data []byte
	over bool
}

func (k *keeper) Write(p []byte) (int, error) {
	if len(k.data)+len(p) > maxStored {
		k.over = true
	}
	if !k.over {
		k.data = append(k.data, p...)
	}
	return len(p), nil
}

// share returns an answer that is already there, or, after waiting for it, one
// that another request brought; otherwise the flight of this request.
func (x *exchange) share() (*stored, *flight) {
	o := x.options
	if x.request.Method != http.MethodGet || o.Cache == 0 && !o.Merge {
		return nil, nil
	}
	key, b := x.target, x.box
	for {
		b.mu.Lock()
		if a := b.cache[key]; a != nil && time.Now().Before(a.until) {
			b.stats.Cached++
			b.mu.Unlock()
			return a, nil
		}
		other := b.flights[key]
		if !o.Merge || other == nil {
			f := &flight{key: key, merged: o.Merge, answer: &stored{ready: make(chan struct{})}, ttl: o.Cache}
			f.Writer = &f.kept
			if o.Merge {
				b.flights[key] = f.answer
			}
			b.mu.Unlock()
			return nil, f
		}
		b.stats.Merged++
		b.mu.Unlock()
		select {
		case <-other.ready:
			if other.good {
				return other, nil
			}
		case <-x.link.ctx.Done():
			return &stored{status: http.StatusBadGateway, header: http.Header{}}, nil // nobody reads it
		}
	}
}

// land makes the answer known to those who wait for it, and to the cache.
func (f *flight) land(b *Box, status int, header http.Header, err error) {
	if f == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if f.merged && b.flights[f.key] == f.answer {
		delete(b.flights, f.key)
	}
	if err == nil && !f.kept.over {
		f.answer.status, f.answer.header, f.answer.body = status, header, f.kept.data
		f.answer.good = true
		if f.ttl > 0 && status == http.StatusOK {
			f.answer.until = time.Now().Add(f.ttl)
			b.cache[f.key] = f.answer
		}
	}
	close(f.answer.ready)
}

// fail tells those who wait to ask for themselves.
func (f *flight) fail(b *Box) { f.land(b, 0, nil, io.ErrUnexpectedEOF) }
