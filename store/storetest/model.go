package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// SeedVar names the environment variable that repeats a run of the model.
const SeedVar = "CULVERT_SEED"

var modelLaws = []law{
	{"RandomOperations", func(e *env) {
		seed := uint64(time.Now().UnixNano())
		if v := os.Getenv(SeedVar); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				e.Fatalf("%s: %v", SeedVar, err)
			}
			seed = n
		}
		e.Cleanup(func() {
			if e.Failed() {
				e.Logf("repeat with %s=%d", SeedVar, seed)
			}
		})
		steps := 4000
		if e.b.RealTime || testing.Short() {
			steps = 800
		}
		newModel(e, seed).run(steps)
	}},
}

// Bounds of the model's store, in units where they are times.
const (
	modelMessages = 6
	modelAge      = 12
	modelRoomTTL  = 40
)

// model is what a store should be, in the plainest form: lists that are
// searched, and a clock that counts units.
type model struct {
	*env
	rand  *rand.Rand
	now   int
	rooms map[string]*modelRoom
	keys  map[[3]string]modelKey
	log   []string // the last operations, for a failure
}

type modelRoom struct {
	history []modelMessage
	head    hub.Position
	floor   hub.Position
	past    []hub.Position // positions seen in any life
	touched int            // when its position was last surely renewed
	members []modelMember  // in the order of joining
	watch   *recorder
	heard   []string // ids that the watcher must hear
}

type modelMessage struct {
	hub.Message
	expires int
}

type modelKey struct {
	fingerprint hub.Fingerprint
	result      hub.Result
	expires     int
}

type modelMember struct {
	client string
	leases map[string]int // holder: expires
}

func newModel(e *env, seed uint64) *model {
	m := &model{
		env:   e,
		rand:  rand.New(rand.NewPCG(seed, 1)),
		rooms: map[string]*modelRoom{},
		keys:  map[[3]string]modelKey{},
	}
	m.open(Options{HistoryMessages: modelMessages, HistoryAge: e.span(modelAge), RoomTTL: e.span(modelRoomTTL)})
	return m
}

// alive says that a life of n units and a half that began at unit born goes on.
func alive(expires, now int) bool { return now <= expires }

func (m *model) run(steps int) {
	names := []string{"a", "b", "a:b", "c"}
	for _, name := range names {
		m.rooms[name] = &modelRoom{}
	}
	m.rooms["a"].watch, _ = m.env.watch(m.store, "a") // so it is never forgotten
	for range steps {
		name := names[m.rand.IntN(len(names))]
		r := m.rooms[name]
		m.settle(name, r)
		switch n := m.rand.IntN(100); {
		case n < 40:
			m.publish(name)
		case n < 65:
			m.readSome(name, r)
		case n < 70:
			m.heads(names)
		case n < 80:
			m.renewSome(name, r)
		case n < 84:
			m.releaseSome(name, r)
		case n < 90:
			m.checkPresent(name, r)
		case !m.b.RealTime:
			d := 1 + m.rand.IntN(3)
			if m.rand.IntN(20) == 0 {
				d = m.rand.IntN(60)
			}
			m.note("pass %d", d)
			// A room with a watcher is never forgotten, and whose leases have
			// ended is told, because a hub asks all the time.
			const often = 5
			for left := d; left > 0; left -= often {
				m.pass(min(left, often))
				m.env.head("a")
				m.present("a", 0)
			}
			m.now += d
		}
	}
	for _, r := range m.rooms {
		if r.watch == nil {
			continue
		}
		if !r.watch.wait(func() bool { return len(r.watch.msgs) >= len(r.heard) || r.watch.resynced }) {
			m.fail("%d of %d messages were heard", len(r.watch.heard()), len(r.heard))
		}
		for i, msg := range r.watch.heard() {
			if !r.watch.resynced && msg.ID != r.heard[i] {
				m.fail("heard %d is %s, want %s", i, msg.ID, r.heard[i])
			}
		}
		m.checkEvents(r)
	}
}

// checkEvents plays the presence events of room "a" back: they must lead to who
// is present, with the right count at each step.
func (m *model) checkEvents(r *modelRoom) {
	m.settle("a", r)
	m.renew(hub.Lease{Room: "a", Client: "end", Holder: "n0", TTL: m.span(ample)})
	last := func() bool {
		n := len(r.watch.events)
		return n > 0 && r.watch.events[n-1].Member.Client == "end"
	}
	if !r.watch.wait(func() bool { return last() || r.watch.resynced }) {
		m.fail("the last join was not told")
	}
	here := map[string]bool{}
	for i, ev := range r.watch.told() {
		if here[ev.Member.Client] == ev.Join {
			m.fail("event %d is %+v, present are %v", i, ev, here)
		}
		if ev.Join {
			here[ev.Member.Client] = true
		} else {
			delete(here, ev.Member.Client)
		}
		if ev.Count != len(here) {
			m.fail("event %d is %+v, present are %v", i, ev, here)
		}
	}
	if len(here) != len(r.members)+1 {
		m.fail("the events leave %v present, want %+v", here, r.members)
	}
	for _, o := range r.members {
		if !here[o.client] {
			m.fail("the events leave %v present, want %+v", here, r.members)
		}
	}
}

func (m *model) note(format string, args ...any) {
	if len(m.log) == 25 {
		m.log = m.log[1:]
	}
	m.log = append(m.log, fmt.Sprintf("t=%d ", m.now)+fmt.Sprintf(format, args...))
}

func (m *model) fail(format string, args ...any) {
	m.Helper()
	for _, l := range m.log {
		m.Log(l)
	}
	m.Fatalf(format, args...)
}

// settle removes what has expired. Where the room may have been forgotten, it
// asks the store which it is.
func (m *model) settle(name string, r *modelRoom) {
	for len(r.history) > 0 && !alive(r.history[0].expires, m.now) {
		m.trim(r)
	}
	r.members = slices.DeleteFunc(r.members, func(o modelMember) bool {
		for h, expires := range o.leases {
			if !alive(expires, m.now) {
				delete(o.leases, h)
			}
		}
		return len(o.leases) == 0
	})
	if r.watch == nil && !r.head.IsZero() && m.now > r.touched+modelRoomTTL {
		h := m.env.head(name)
		switch h {
		case r.head:
			r.touched = m.now
		case hub.Position{}:
			m.note("%s was forgotten", name)
			r.head, r.floor, r.history = hub.Position{}, hub.Position{}, nil
		default:
			m.fail("head of %s is %v, want %v or none", name, h, r.head)
		}
	}
}

func (m *model) trim(r *modelRoom) {
	r.floor = r.history[0].Position()
	r.history = r.history[1:]
}

// publish does a batch; all of one room, or of several.
func (m *model) publish(name string) {
	n := 1
	if m.rand.IntN(5) == 0 {
		n = 1 + m.rand.IntN(8)
	}
	var batch []hub.Publish
	var lives []int
	for range n {
		if m.rand.IntN(6) == 0 {
			name = []string{"a", "b", "a:b", "c"}[m.rand.IntN(4)]
			m.settle(name, m.rooms[name])
		}
		data := fmt.Sprint("d", m.rand.IntN(2))
		p := message(name, data)
		p.Ephemeral = m.rand.IntN(6) == 0
		life := 0
		if m.rand.IntN(2) == 0 {
			life = m.rand.IntN(10)
			if m.b.RealTime {
				life = ample
			}
			p.Key, p.Subject = fmt.Sprint("k", m.rand.IntN(6)), []string{"", "u"}[m.rand.IntN(2)]
			p.KeyTTL = m.span(life)
			p.Fingerprint = fingerprint(data, p.Ephemeral)
		}
		batch, lives = append(batch, p), append(lives, life)
	}
	results := m.store.Publish(m.ctx, batch)
	for i, p := range batch {
		m.note("publish %s id %s key %q/%q life %d ephemeral %t %s: %+v", p.Room, p.ID, p.Subject, p.Key, lives[i], p.Ephemeral, p.Data, results[i])
		m.published(p, lives[i], results[i])
	}
}

func (m *model) published(p hub.Publish, life int, got hub.Result) {
	r := m.rooms[p.Room]
	key := [3]string{p.Room, p.Subject, p.Key}
	if k, ok := m.keys[key]; p.Key != "" && ok && alive(k.expires, m.now) {
		want := k.result
		want.Duplicate = true
		if k.fingerprint != p.Fingerprint {
			m.wantErr(got.Err, hub.ErrKeyConflict)
		} else if got != want {
			m.fail("got %+v, want %+v", got, want)
		}
		return
	}
	want := hub.Result{Time: got.Time}
	if !p.Ephemeral {
		want.Position = hub.Position{Epoch: r.head.Epoch, Offset: r.head.Offset + 1, ID: p.ID}
		if r.head.IsZero() {
			want.Position.Epoch = got.Position.Epoch
			for _, old := range r.past {
				if old.Epoch >= got.Position.Epoch {
					m.fail("the new epoch %s sorts before %s", got.Position.Epoch, old.Epoch)
				}
			}
		}
	}
	if got != want || got.Time == 0 || (!p.Ephemeral && got.Position.Epoch == "") {
		m.fail("got %+v, want %+v", got, want)
	}
	if p.Key != "" {
		m.keys[key] = modelKey{p.Fingerprint, got, m.now + life}
	}
	r.heard = append(r.heard, p.ID)
	if p.Ephemeral {
		return
	}
	r.head = got.Position
	r.past = append(r.past, got.Position)
	r.touched = m.now
	r.history = append(r.history, modelMessage{
		Message: hub.Message{Room: p.Room, Epoch: r.head.Epoch, Offset: r.head.Offset, ID: p.ID, Time: got.Time, From: p.From, Data: p.Data},
		expires: m.now + modelAge,
	})
	if len(r.history) > modelMessages {
		m.trim(r)
	}
}

// position picks one that is known, from an earlier life, or wrong.
func (m *model) position(r *modelRoom) hub.Position {
	if len(r.past) == 0 || m.rand.IntN(8) == 0 {
		return hub.Position{}
	}
	// Mostly of the newest ones.
	back := min(m.rand.IntN(12), len(r.past)-1)
	if m.rand.IntN(6) == 0 {
		back = m.rand.IntN(len(r.past))
	}
	p := r.past[len(r.past)-1-back]
	switch m.rand.IntN(10) {
	case 0:
		p.ID = otherID
	case 1:
		p.Offset += uint64(1 + m.rand.IntN(10))
	case 2:
		p.Epoch = hub.NewEpoch(int64(m.rand.IntN(1000)))
	}
	return p
}

func (m *model) readSome(name string, r *modelRoom) {
	q := hub.ReadRequest{
		Room:  name,
		Mode:  hub.ReadMode(m.rand.IntN(4)),
		From:  m.position(r),
		Limit: 1 + m.rand.IntN(8),
		Bytes: []int{0, 0, 1, 8, 17}[m.rand.IntN(5)],
	}
	got := m.env.read(q)
	want := r.page(q)
	m.note("read %+v: gap %+v, %v", q, got.Gap, positions(got.Messages))
	if (got.Gap == nil) != (want.Gap == nil) || got.Gap != nil && *got.Gap != *want.Gap {
		m.fail("gap %+v, want %+v", got.Gap, want.Gap)
	}
	if got.Head != want.Head || got.Floor != want.Floor || got.More != want.More || len(got.Messages) != len(want.Messages) {
		m.fail("page:\n got %+v\nwant %+v", got, want)
	}
	for i, g := range got.Messages {
		w := want.Messages[i]
		if g.Position() != w.Position() || string(g.Data) != string(w.Data) || g.Time != w.Time || g.From != w.From || g.Room != name {
			m.fail("message %d: got %+v, want %+v", i, g, w)
		}
	}
}

// page is what a read returns, by the words of hub.Page.
func (r *modelRoom) page(q hub.ReadRequest) hub.Page {
	page := hub.Page{Head: r.head, Floor: r.floor}
	from := q.From
	gap := func(reason hub.GapReason, to hub.Position) {
		page.Gap = &hub.Gap{Room: q.Room, Reason: reason, From: q.From, To: to}
		from = to
	}
	if q.Mode == hub.ReadAfter || q.Mode == hub.ReadBefore {
		at := slices.IndexFunc(r.history, func(m modelMessage) bool { return m.Offset == from.Offset })
		switch {
		case from.IsZero():
			if q.Mode == hub.ReadAfter && !r.floor.IsZero() {
				gap(hub.GapEvicted, r.floor)
			}
		case from.Epoch != r.head.Epoch:
			gap(hub.GapLost, r.floor)
		case from.Offset > r.head.Offset:
			gap(hub.GapLost, r.head)
		case at >= 0 && r.history[at].ID != from.ID:
			gap(hub.GapFork, r.history[at].Position())
		case at >= 0 || from == r.floor:
		case from.Offset == r.floor.Offset:
			gap(hub.GapFork, r.floor)
		default:
			gap(hub.GapEvicted, r.floor)
		}
	}
	// What is in line, in the direction of reading.
	var line []*hub.Message
	for i := range r.history {
		m := &r.history[i].Message
		if q.Mode == hub.ReadAfter && m.Offset <= from.Offset || q.Mode == hub.ReadBefore && m.Offset >= from.Offset {
			continue
		}
		line = append(line, m)
	}
	backwards := q.Mode == hub.ReadBefore || q.Mode == hub.ReadLatest
	if backwards {
		slices.Reverse(line)
	}
	sum := 0
	for i, m := range line {
		sum += len(m.Data)
		if i == q.Limit || q.Bytes > 0 && sum > q.Bytes && i > 0 {
			page.More = true
			break
		}
		page.Messages = append(page.Messages, m)
	}
	if backwards {
		slices.Reverse(page.Messages)
	}
	return page
}

func (m *model) heads(names []string) {
	var want []hub.Position
	for _, name := range names {
		m.settle(name, m.rooms[name])
		want = append(want, m.rooms[name].head)
		m.rooms[name].touched = m.now
	}
	got, err := m.store.Heads(m.ctx, names)
	m.note("heads %v, %v", got, err)
	if err != nil || !slices.Equal(got, want) {
		m.fail("heads %v, %v; want %v", got, err, want)
	}
}

func (m *model) someLeases(name string) []hub.Lease {
	var out []hub.Lease
	for range 1 + m.rand.IntN(3) {
		out = append(out, hub.Lease{
			Room:   name,
			Client: fmt.Sprint("c", m.rand.IntN(5)),
			Holder: fmt.Sprint("n", m.rand.IntN(2)),
		})
	}
	return out
}

func (m *model) renewSome(name string, r *modelRoom) {
	leases := m.someLeases(name)
	lives := make([]int, len(leases))
	for i := range leases {
		lives[i] = m.rand.IntN(8)
		if m.b.RealTime {
			lives[i] = ample
		}
		leases[i].TTL = m.span(lives[i])
	}
	m.note("renew %+v", leases)
	m.renew(leases...)
	for i, l := range leases {
		at := slices.IndexFunc(r.members, func(o modelMember) bool { return o.client == l.Client })
		if at < 0 {
			at = len(r.members)
			r.members = append(r.members, modelMember{l.Client, map[string]int{}})
		}
		r.members[at].leases[l.Holder] = m.now + lives[i]
	}
}

func (m *model) releaseSome(name string, r *modelRoom) {
	leases := m.someLeases(name)
	m.note("release %+v", leases)
	m.release(leases...)
	for _, l := range leases {
		r.members = slices.DeleteFunc(r.members, func(o modelMember) bool {
			if o.client == l.Client {
				delete(o.leases, l.Holder)
			}
			return len(o.leases) == 0
		})
	}
}

func (m *model) checkPresent(name string, r *modelRoom) {
	limit := m.rand.IntN(8)
	got := m.present(name, limit)
	m.note("present %d: %+v", limit, got)
	if got.Count != len(r.members) || len(got.Members) != min(limit, len(r.members)) {
		m.fail("present %+v, want %+v", got, r.members)
	}
	// Who joined in the same millisecond may come in either order.
	if limit >= len(r.members) {
		a, b := []string{}, []string{}
		for i := range got.Members {
			a, b = append(a, got.Members[i].Client), append(b, r.members[i].client)
		}
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(a, b) {
			m.fail("present %v, want %v", a, b)
		}
	}
	if !slices.IsSortedFunc(got.Members, func(a, b hub.Member) int { return cmp.Compare(a.Since, b.Since) }) {
		m.fail("present is not in the order of joining: %+v", got.Members)
	}
}
