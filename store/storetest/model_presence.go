package storetest

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/culvertd/culvert/hub"
)

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
