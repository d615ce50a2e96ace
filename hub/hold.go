package hub

// maxHeld is how many rooms wait for a release; more are the workers'.
const maxHeld = 64

// HoldDelivery is for a caller who is about to publish several times in a row
// without waiting in between. From now on, what is published into small rooms,
// by whomever, is not handed to the workers: it is delivered by the first who
// calls ReleaseDelivery, which this caller must do within a fraction of a
// millisecond. Waking a worker costs as much as writing to several readers, and
// a burst of messages for small rooms wakes one again and again.
func (h *Hub) HoldDelivery() { h.queue.hold() }

// ReleaseDelivery ends HoldDelivery. It delivers what is held, without waiting
// for a connection or a store.
func (h *Hub) ReleaseDelivery() {
	a := h.helpers.Get().(*helper)
	a.rooms = h.queue.release(a.rooms)
	for rooms := a.rooms; len(rooms) > 0; {
		n := min(len(rooms), takenRooms)
		a.worker.serveAll(rooms[:n])
		rooms = rooms[n:]
	}
	h.helpers.Put(a)
}

// helper is a worker for a moment.
type helper struct {
	worker worker
	rooms  []*room
}

func (q *workQueue) hold() {
	q.mu.Lock()
	q.holds++
	q.mu.Unlock()
}

// release ends a hold and takes what is held, whoever else holds as well; place
// is for those that come next.
func (q *workQueue) release(place []*room) []*room {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.holds--
	held := q.held
	q.held = place[:0]
	return held
}
