package middlebox

import (
	"bufio"
	"io"
	"net"
	"sync"
	"time"
)

// tunnel passes bytes both ways until one side ends, then ends both.
func (x *exchange) tunnel(server *bufio.Reader, upstream net.Conn) {
	framed := upgrades(x.request)
	if age := x.options.WebSocketAge; age > 0 && framed {
		t := time.AfterFunc(age, x.link.close)
		defer t.Stop()
	}
	var both sync.WaitGroup
	pump := func(to io.WriteCloser, from *bufio.Reader) {
		defer both.Done()
		out := to
		if framed {
			out = newFilter(x, to)
		}
		_, _ = copySmall(out, from)
		// Not before what is delayed has gone; a forgotten link ends nothing.
		_ = out.Close()
		if !x.link.isFrozen() {
			x.link.close()
		}
	}
	both.Add(2)
	x.box.wg.Go(func() { pump(x.toClient(), server) })
	x.box.wg.Go(func() { pump(x.toServer(upstream), x.reader) })
	both.Wait()
}

// filter looks at WebSocket frames one by one, and lets them through or not.
type filter struct {
	x     *exchange
	out   io.WriteCloser
	start time.Time
	stop  chan struct{} // closed by Close
	done  chan struct{} // closed when the releaser has ended

	mu   sync.Mutex
	held []byte // guarded by mu; whole frames
	err  error  // guarded by mu

	// Owned by Write.
	head []byte // of the frame at hand, incomplete
	left int    // of its payload
	fate Frames
	flip bool // the next payload byte is spoilt
}

// maxHeld bounds what FramesHold keeps; beyond it frames are dropped.
const maxHeld = 4 << 20

func newFilter(x *exchange, out io.WriteCloser) *filter {
	f := &filter{x: x, out: out, start: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	x.box.wg.Go(f.releaser)
	return f
}

// mode is what happens to a frame that begins now. Options of the box that were
// set later count, so that a test can let held frames go.
func (f *filter) mode() (Frames, int) {
	o := f.x.box.options.Load()
	if o.Only != nil && !o.Only(f.x.request) {
		return FramesPass, 0
	}
	if time.Since(f.start) < o.FramesAfter {
		return FramesPass, o.MaxFrame
	}
	return o.Frames, o.MaxFrame
}

// releaser writes held frames when the options no longer hold them.
func (f *filter) releaser() {
	defer close(f.done)
	for {
		changed := f.x.box.change()
		if mode, _ := f.mode(); mode == FramesPass {
			f.release()
		}
		select {
		case <-changed:
		case <-f.stop:
			return
		}
	}
}

func (f *filter) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.held) > 0 && f.err == nil {
		_, f.err = f.out.Write(f.held)
	}
	f.held = nil
}

func (f *filter) Write(p []byte) (int, error) {
	total := len(p)
	f.mu.Lock()
	defer f.mu.Unlock()
	var pass []byte
	for len(p) > 0 && f.err == nil {
		if f.left == 0 {
			n, complete := f.header(p)
			p = p[n:]
			if !complete {
				break
			}
			pass = f.take(pass, f.head)
			f.head = f.head[:0]
			continue
		}
		n := min(f.left, len(p))
		part := p[:n]
		if f.flip {
			part = append([]byte{part[0] ^ 0x80}, part[1:]...)
			f.flip = false
		}
		pass = f.take(pass, part)
		f.left -= n
		p = p[n:]
	}
	if len(pass) > 0 && f.err == nil {
		_, f.err = f.out.Write(pass)
	}
	return total, f.err
}

// take puts part of a frame where its fate sends it.
func (f *filter) take(pass, part []byte) []byte {
	switch f.fate {
	case FramesDrop:
	case FramesHold:
		if len(f.held)+len(part) <= maxHeld {
			f.held = append(f.held, part...)
		}
	default:
		if len(f.held) > 0 { // released by the options, not yet by the releaser
			pass, f.held = append(pass, f.held...), nil
		}
		pass = append(pass, part...)
	}
	return pass
}

// header adds bytes to the header at hand. When it is complete, the frame's
// fate and length are known.
func (f *filter) header(p []byte) (n int, complete bool) {
	for n < len(p) {
		f.head = append(f.head, p[n])
		n++
		size, length := frameHeader(f.head)
		if size == 0 || len(f.head) < size {
			continue
		}
		mode, most := f.mode()
		f.fate, f.left = mode, length
		f.flip = mode == FramesCorrupt && length > 0 && (f.head[0]&0x0f == 1 || f.head[0]&0x0f == 2)
		if most > 0 && length > most {
			f.err = errKilled
			f.x.link.reset()
		}
		return n, true
	}
	return n, false
}

// frameHeader returns the size of a frame's header, 0 while that is not known,
// and the length of the payload.
func frameHeader(h []byte) (size, length int) {
	if len(h) < 2 {
		return 0, 0
	}
	size, length = 2, int(h[1]&0x7f)
	extended := 0
	switch length {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	if len(h) < size+extended {
		return 0, 0
	}
	if extended > 0 {
		length = 0
		for _, b := range h[size : size+extended] {
			length = length<<8 | int(b)
		}
		size += extended
	}
	if h[1]&0x80 != 0 {
		size += 4 // the mask
	}
	return size, length
}

func (f *filter) Close() error {
	close(f.stop)
	<-f.done
	return f.out.Close()
}
