package redis

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

// watch knows who watches which rooms, and passes on what is published on the
// channels of their partitions. A subscriber (one for single servers and
// Sentinel, one for clusters) keeps the subscriptions as watch wants them.
type watch struct {
	store     *Store
	partition map[string]int // by channel; set once
	changed   chan struct{}  // capacity 1: what is wanted has changed
	cancel    context.CancelFunc

	mu    sync.RWMutex
	rooms map[string]*watchedRoom // by escaped name; guarded by mu
	parts [partitions]part        // guarded by mu
	// down: the connection is lost, or never was. Watchers are told to resync
	// when it is there again.
	down bool // guarded by mu
}

type watchedRoom struct {
	name      string
	partition int
	// watchers is replaced, never changed: it is walked without the lock, as a
	// watcher may wait for a lock under which somebody stops a watch.
	watchers []*watching
}

type watching struct{ hub.Watcher }

// part is what is known of the subscription to a partition's channel.
type part struct {
	rooms     int  // watched ones; above 0 the subscription is wanted
	confirmed bool // by the server: from here on nothing is missed
	lost      bool // the subscription broke, or could not be made
	stale     bool // some Watch has returned unconfirmed: resync when confirmed
	// news is closed when confirmed or lost changes; nil while nobody waits.
	news chan struct{}
}

func (p *part) announce() {
	if p.news != nil {
		close(p.news)
		p.news = nil
	}
}

func newWatch(s *Store) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{
		store: s, cancel: cancel,
		partition: make(map[string]int, partitions),
		changed:   make(chan struct{}, 1),
		rooms:     make(map[string]*watchedRoom),
	}
	for p, channel := range s.keys.channel {
		w.partition[channel] = p
	}
	s.life.work.Add(1)
	go func() {
		defer s.life.work.Done()
		if s.addr.Mode == "cluster" {
			w.runCluster(ctx)
		} else {
			w.runSingle(ctx)
		}
	}()
	return w
}

func (w *watch) close() { w.cancel() }

// Watch implements hub.Store. It returns when Redis has confirmed the
// subscription. While Redis is away it returns at once without an error, and
// where Redis does not answer after some seconds; then Resync is called as soon
// as the subscription is there. Only a context that ends first gives an error.
func (s *Store) Watch(ctx context.Context, room string, hw hub.Watcher) (stop func(), err error) {
	if !s.life.begin() {
		return nil, hub.ErrClosed
	}
	defer s.life.end()
	return s.watch.add(ctx, room, hw)
}

func (w *watch) add(ctx context.Context, name string, hw hub.Watcher) (stop func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	room, p := escape(name), partitionOf(name)
	me := &watching{hw}
	w.mu.Lock()
	r := w.rooms[room]
	if r == nil {
		r = &watchedRoom{name: name, partition: p}
		w.rooms[room] = r
		w.parts[p].rooms++
	}
	r.watchers = append(slices.Clip(r.watchers), me)
	w.mu.Unlock()
	w.kick()
	var once sync.Once
	stop = func() { once.Do(func() { w.remove(room, me) }) }

	patience := time.NewTimer(2 * w.store.opt.CommandTimeout)
	defer patience.Stop()
	for {
		w.mu.Lock()
		part := &w.parts[p]
		if part.confirmed {
			w.mu.Unlock()
			return stop, nil
		}
		if part.lost || w.down {
			part.stale = true
			w.mu.Unlock()
			return stop, nil
		}
		if part.news == nil {
			part.news = make(chan struct{})
		}
		news := part.news
		w.mu.Unlock()
		select {
		case <-news:
		case <-patience.C:
			w.mu.Lock()
			part.stale = !part.confirmed
			w.mu.Unlock()
			return stop, nil
		case <-ctx.Done():
			stop()
			return nil, ctx.Err()
		case <-w.store.life.stopped:
			stop()
			return nil, hub.ErrClosed
		}
	}
}

func (w *watch) remove(room string, me *watching) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.rooms[room]
	if r == nil {
		return
	}
	if i := slices.Index(r.watchers, me); i >= 0 {
		r.watchers = slices.Delete(slices.Clone(r.watchers), i, i+1)
	}
	if len(r.watchers) > 0 {
		return
	}
	delete(w.rooms, room)
	if w.parts[r.partition].rooms--; w.parts[r.partition].rooms == 0 {
		w.kick()
	}
}

// kick tells the subscriber that what is wanted may have changed.
func (w *watch) kick() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// confirm notes that the server has confirmed a subscription.
func (w *watch) confirm(p int) {
	w.mu.Lock()
	part := &w.parts[p]
	part.confirmed, part.lost = true, false
	part.announce()
	var doubts []doubt
	if part.stale && !w.down { // when down, recover sees to it
		part.stale = false
		doubts = w.doubtsOf(p)
	}
	w.mu.Unlock()
	resync(doubts)
}

// lose notes that the subscription to a partition is gone.
func (w *watch) lose(p int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	part := &w.parts[p]
	part.confirmed, part.lost = false, true
	part.stale = part.rooms > 0
	part.announce()
}

// doubt is a call of Resync to be made when mu is free.
type doubt struct {
	watcher hub.Watcher
	room    string
}

func resync(doubts []doubt) {
	for _, d := range doubts {
		d.watcher.Resync(d.room)
	}
}

// doubtsOf questions the rooms of one partition. With mu held.
func (w *watch) doubtsOf(p int) (doubts []doubt) {
	for _, r := range w.rooms {
		if r.partition == p {
			for _, x := range r.watchers {
				doubts = append(doubts, doubt{x.Watcher, r.name})
			}
		}
	}
	return doubts
}

// doubtsOfAll questions every room, once for each watcher. With mu held.
func (w *watch) doubtsOfAll() (doubts []doubt) {
	told := make(map[hub.Watcher]bool)
	for _, r := range w.rooms {
		for _, x := range r.watchers {
			if !reflect.TypeOf(x.Watcher).Comparable() {
				doubts = append(doubts, doubt{x.Watcher, r.name})
			} else if !told[x.Watcher] {
				told[x.Watcher] = true
				doubts = append(doubts, doubt{x.Watcher, ""})
			}
		}
	}
	return doubts
}

// deliver passes on what was published on a channel.
func (w *watch) deliver(channel, payload string) {
	d := delivery{w: w}
	err := decodeFrames(payload, &d)
	d.flush()
	if err == nil {
		return
	}
	w.store.opt.Logger.Error("unreadable message between nodes", "channel", channel, "error", err)
	if p, ok := w.partition[channel]; ok {
		w.mu.RLock()
		doubts := w.doubtsOf(p)
		w.mu.RUnlock()
		resync(doubts)
	}
}

// delivery gathers messages that follow each other in one room.
type delivery struct {
	w        *watch
	room     string // escaped
	name     string
	watchers []*watching
	msgs     []*hub.Message
}

func (d *delivery) wants(room string) (string, bool) {
	if room != d.room {
		d.flush()
		d.w.mu.RLock()
		d.room, d.name, d.watchers = room, "", nil
		if r := d.w.rooms[room]; r != nil {
			d.name, d.watchers = r.name, r.watchers
		}
		d.w.mu.RUnlock()
	}
	return d.name, len(d.watchers) > 0
}

func (d *delivery) message(m *hub.Message) { d.msgs = append(d.msgs, m) }

func (d *delivery) presence(ev hub.PresenceEvent) {
	d.flush()
	for _, x := range d.watchers {
		x.Presence(d.name, []hub.PresenceEvent{ev})
	}
}

func (d *delivery) flush() {
	msgs := d.msgs
	d.msgs = nil
	if len(msgs) == 0 {
		return
	}
	for i, x := range d.watchers {
		own := msgs
		if i < len(d.watchers)-1 { // each watcher may do with its slice what it likes
			own = slices.Clone(msgs)
		}
		x.Messages(d.name, own)
	}
}
