package hub

import (
	"runtime"
	"sync"
	"time"
)

// workQueue holds the rooms that have something to deliver, first come first
// served. A room is in it at most once.
type workQueue struct {
	mu     sync.Mutex
	cond   *sync.Cond
	rooms  []queued // guarded by mu, a ring
	head   int
	n      int
	closed bool

	holds int     // callers between HoldDelivery and ReleaseDelivery
	held  []*room // small rooms for the first of them that releases
}

// queued is a room with something to deliver.
type queued struct {
	room  *room
	small bool // it has no more than smallRoom members
}

// A worker takes so many small rooms at a time: all together are less work than
// a slice of a large one.
const (
	smallRoom  = 4
	takenRooms = 8
)

func newWorkQueue() *workQueue {
	q := &workQueue{rooms: make([]queued, 64)}
	q.cond = sync.NewCond(&q.mu)
	return q
}

// push queues a room of so many members.
func (q *workQueue) push(r *room, members int) {
	q.mu.Lock()
	if q.holds > 0 && members <= smallRoom && len(q.held) < maxHeld {
		q.held = append(q.held, r)
		q.mu.Unlock()
		return
	}
	if q.n == len(q.rooms) {
		rooms := make([]queued, 2*q.n)
		for i := range q.n {
			rooms[i] = q.rooms[(q.head+i)%q.n]
		}
		q.rooms, q.head = rooms, 0
	}
	q.rooms[(q.head+q.n)%len(q.rooms)] = queued{r, members <= smallRoom}
	q.n++
	q.mu.Unlock()
	q.cond.Signal()
}

// pop waits for a room, and takes it with the small ones that follow upon a
// small one. None means that the queue was closed.
func (q *workQueue) pop(taken *[takenRooms]*room) []*room {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.n == 0 && !q.closed {
		q.cond.Wait()
	}
	if q.closed {
		return nil
	}
	n := 0
	for small := true; small && q.n > 0 && n < takenRooms; n++ {
		next := &q.rooms[q.head]
		if small = next.small; !small && n > 0 {
			break
		}
		taken[n] = next.room
		*next = queued{}
		q.head = (q.head + 1) % len(q.rooms)
		q.n--
	}
	return taken[:n]
}

func (q *workQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.cond.Broadcast()
}

// sliceLen is how many members a worker serves before the next room has its
// turn, so that a room of thousands does not delay a room of two.
const sliceLen = 256

// yieldEvery is how many writes a worker makes before it lets the runtime poll
// the network: without that an unrelated request waits for the whole fan-out.
const yieldEvery = 64

// In a room of bigRoom members a round takes long enough that a burst is still
// coming in during its first writes, and the next burst comes when the last
// reader has read. So a round that follows upon another within that one's own
// duration waits a little: what comes meanwhile goes out in the same writes. A
// message after a silence does not wait.
const (
	bigRoom   = 512
	gatherMin = 200 * time.Microsecond
	gatherMax = 2 * time.Millisecond
)

// pushLocked queues the room, at once or after it has gathered.
func (r *room) pushLocked() {
	if len(r.members) < bigRoom || time.Since(r.ended) >= r.took {
		r.hub.queue.push(r, len(r.members))
		return
	}
	wait := min(max(gatherMin, r.took/32), gatherMax)
	time.AfterFunc(wait, func() { r.hub.queue.push(r, bigRoom) })
}

// worker fans rooms out. All its fields are its goroutine's own.
type worker struct {
	hub     *Hub
	sc      scratch
	taken   [takenRooms]*room
	slice   [sliceLen]*membership
	entries []*entry // of the round
	from    uint64
	joined  [2 * maxForms]joined
	polled  [2 * maxForms]polled

	made []int // the indexes of joined and polled that this slice has used

	delivered int64 // not yet in the hub's count
}

// joined is what a round's entries are in one form, put together once for all
// members that need exactly them.
type joined struct {
	done  bool
	buf   []byte   // reused between rounds
	bytes []byte   // buf, or the one frame there is; empty if the form shows none
	kept  []byte   // a copy that remainders refer to, made when the first is kept
	to    uint64   // up to this entry
	at    Position // after it
	count int      // frames
}

func (w *worker) run() {
	for {
		rooms := w.hub.queue.pop(&w.taken)
		if len(rooms) == 0 {
			return
		}
		w.serveAll(rooms)
	}
}

// serveAll serves a few small rooms, or a large one, and forgets them.
func (w *worker) serveAll(rooms []*room) {
	looked := len(rooms) > 1
	if looked {
		w.lookInto(rooms)
	}
	for i, r := range rooms {
		w.serve(r, looked)
		rooms[i] = nil
	}
}

// serve walks one slice of the room's members. looked says that their memory has
// been asked for.
func (w *worker) serve(r *room, looked bool) {
	r.mu.Lock()
	rd := &r.round
	if !rd.active {
		r.compactLocked()
		*rd = round{active: true, from: max(r.shown, r.log.first), to: r.log.next, n: len(r.members)}
		r.shown = rd.to
		if rd.n >= bigRoom {
			r.began = time.Now()
		}
	}
	w.from = max(rd.from, r.log.first)
	w.entries = w.entries[:0]
	for seq := w.from; seq < rd.to; seq++ {
		w.entries = append(w.entries, r.log.at(seq))
	}
	n := copy(w.slice[:], r.members[rd.i:rd.n])
	rd.i += n
	r.mu.Unlock()
	looked = looked && n <= smallRoom
	for _, i := range w.made {
		w.joined[i].done = false
		w.polled[i] = polled{}
	}
	w.made = w.made[:0]

	for i, m := range w.slice[:n] {
		if i%lookAhead == 0 && !looked {
			w.lookAt(w.slice[i:min(i+lookAhead, n)])
		}
		if m != nil {
			w.deliver(m)
		}
		w.slice[i] = nil
		if i%yieldEvery == yieldEvery-1 {
			runtime.Gosched()
		}
	}
	clear(w.entries)
	w.hub.stats.delivered.Add(w.delivered)
	w.delivered = 0

	r.mu.Lock()
	if rd.i >= rd.n || len(r.members) == r.holes {
		// Holes are there only while a round is walking over them.
		rd.active = false
		if rd.n >= bigRoom {
			r.ended = time.Now()
			r.took = r.ended.Sub(r.began)
		}
		r.compactLocked()
	}
	r.queued = (rd.active || r.log.next > r.shown) && len(r.members) > 0
	switch {
	case !r.queued:
	case rd.active:
		w.hub.queue.push(r, len(r.members)) // behind the other rooms
	default:
		r.pushLocked()
	}
	r.mu.Unlock()
}

// lookAhead is how many members' memory is asked for at a time. Each is in no
// cache after the writes to thousands of others; asked for together they come
// in about the time of one.
const lookAhead = 8

// lookInto is lookAt for the members of small rooms.
func (w *worker) lookInto(rooms []*room) {
	n := 0
	for _, r := range rooms {
		r.mu.Lock()
		n += copy(w.slice[n:], r.members[:min(len(r.members), smallRoom)])
		r.mu.Unlock()
	}
	w.lookAt(w.slice[:n])
	clear(w.slice[:n])
}

// lookAt reads, of each member, what never changes.
func (w *worker) lookAt(members []*membership) {
	for _, m := range members {
		if m == nil {
			continue
		}
		if s := m.sub; s.near != nil {
			s.near.Near()
		}
	}
}

// deliver gives a member the round's entries: in the common case, a connection
// that stands exactly before them, with one write of bytes shared by all.
func (w *worker) deliver(m *membership) {
	s := m.sub
	s.mu.Lock()
	if s.waiter != nil && !m.gone {
		if w.answerAllLocked(m) {
			return
		}
		s.wantLocked(m)
		s.answerLocked(&w.sc, false)
		return
	}
	defer s.mu.Unlock()
	if m.gone {
		return
	}
	plain := s.conn != nil && !s.held && !s.pumping && s.end == nil && s.pending == 0 && !s.endOnGap &&
		len(s.rest) == 0 && len(s.own) == 0 && m.attached && m.seq == w.from && m.live <= w.from && len(w.entries) > 0 &&
		(len(s.members) == 1 || !s.framing.CursorInFrame())
	if !plain {
		s.wantLocked(m)
		s.kickLocked(&w.sc)
		return
	}
	j := w.join(int(s.form), s.framing, m.presence)
	m.seq, m.pos = j.to, j.at
	if m.seq < w.from+uint64(len(w.entries)) {
		// The round has more than one write carries. Whoever writes next has to
		// know, and that is the pump where this write is not taken whole.
		s.wantLocked(m)
	}
	if len(j.bytes) > 0 {
		n, err := s.conn.TryWrite(j.bytes)
		s.wroteLocked()
		w.delivered += int64(j.count)
		switch {
		case err != nil:
			s.failLocked(err)
			return
		case n < len(j.bytes):
			if j.kept == nil {
				j.kept = append([]byte(nil), j.bytes...)
			}
			s.keepLocked(j.kept[n:])
			s.pumpLocked()
			return
		}
	}
	if m.pending {
		s.kickLocked(&w.sc)
	}
}

// join puts the round's entries together in one form.
func (w *worker) join(form int, f Framing, presence bool) *joined {
	i := 2 * form
	if presence {
		i++
	}
	j := &w.joined[i]
	if j.done {
		return j
	}
	w.made = append(w.made, i)
	*j = joined{done: true, buf: j.buf[:0], to: w.from, at: j.at}
	for _, e := range w.entries {
		if j.count > 0 && len(j.bytes) >= w.hub.o.WriteBytes {
			break
		}
		j.to++
		j.at = e.at()
		if e.kind() == EventPresence && !presence {
			continue
		}
		frame := e.frame(form, f, &w.hub.held)
		if len(frame) == 0 {
			continue
		}
		j.count++
		if j.count == 1 {
			j.bytes = frame // nothing to copy for a single frame
			continue
		}
		if j.count == 2 {
			j.buf = append(j.buf, j.bytes...)
		}
		j.buf = append(j.buf, frame...)
		j.bytes = j.buf
	}
	if j.count == 1 {
		j.kept = j.bytes // immutable already
	}
	return j
}
