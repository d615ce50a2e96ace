package storetest

import (
	"slices"

	"github.com/culvertd/culvert/hub"
)

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
