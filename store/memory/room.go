package memory

import (
	"github.com/culvertd/culvert/hub"
)

// room is guarded by its shard's mu.
type room struct {
	name string // set once

	// The order. epoch is "" until the first message.
	epoch    string
	head     uint64 // offset of the newest message
	headID   string
	floorID  string // of the newest message that has left the history
	history  ring
	bytes    int   // of history, by hub.Message.Size
	lastWall int64 // Message.Time of the newest message, ephemeral ones too
	lastAt   int64 // instant.at of the newest message

	touched   int64 // when it last had a message or a reader
	keysUntil int64 // when the last of its keys expires

	watchers []*watch
	presence *presence // nil while nobody is present

	timer            int // index in shard.timers, -1: not there
	lastPublish      int64
	lruPrev, lruNext *room
}

func (r *room) headPosition() hub.Position {
	if r.epoch == "" {
		return hub.Position{}
	}
	return hub.Position{Epoch: r.epoch, Offset: r.head, ID: r.headID}
}

// floor is the offset of the newest message that has left the history.
func (r *room) floor() uint64 { return r.head - uint64(r.history.len()) }

func (r *room) floorPosition() hub.Position {
	if f := r.floor(); f > 0 {
		return hub.Position{Epoch: r.epoch, Offset: f, ID: r.floorID}
	}
	return hub.Position{}
}

// trim removes the oldest message.
func (sh *shard) trim(r *room) {
	m := r.history.pop().m
	size := m.Size()
	r.floorID = m.ID
	r.bytes -= size
	sh.s.removed.Add(int64(size))
	if r.history.len() == 0 {
		sh.unlink(r)
		sh.noteOldest()
	}
}

// expire removes at most limit messages that are too old, and says whether
// there are more of them.
func (sh *shard) expire(r *room, now instant, limit int) (more bool) {
	for ; r.history.len() > 0 && after(r.history.at(0).at, sh.s.o.HistoryAge) <= now.at; limit-- {
		if limit == 0 {
			return true
		}
		sh.trim(r)
	}
	return false
}

// forgettable says that nothing but its position keeps the room.
func (r *room) forgettable() bool {
	return r.history.len() == 0 && len(r.watchers) == 0 && r.presence == nil
}

// due is when the room needs a look.
func (r *room) due(o *Options) int64 {
	due := int64(never)
	if r.history.len() > 0 {
		due = after(r.history.at(0).at, o.HistoryAge)
	}
	if r.presence != nil {
		due = min(due, r.presence.leases.due())
	}
	if r.forgettable() {
		if r.epoch == "" {
			return 0 // it holds nothing
		}
		due = max(after(r.touched, o.RoomTTL), r.keysUntil)
	}
	return due
}

// deliver hands messages to the room's watchers, each its own slice.
func (r *room) deliver(msgs []*hub.Message) {
	if len(msgs) == 0 {
		return
	}
	for i, w := range r.watchers {
		if i < len(r.watchers)-1 {
			w.messages(append([]*hub.Message(nil), msgs...))
		} else {
			w.messages(msgs)
		}
	}
}

// tell hands presence events to the room's watchers.
func (r *room) tell(events []hub.PresenceEvent) {
	if len(events) == 0 {
		return
	}
	for _, w := range r.watchers {
		w.presence(append([]hub.PresenceEvent(nil), events...))
	}
}
