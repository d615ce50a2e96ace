package storetest

import (
	"fmt"
	"sync"
	"time"

	"github.com/culvertd/culvert/hub"
)

func (e *env) lease(client, holder string, units int) hub.Lease {
	return hub.Lease{Room: "room", Client: client, Holder: holder, From: "user " + client, TTL: e.span(units)}
}

func (e *env) renew(leases ...hub.Lease) {
	e.Helper()
	if err := e.store.Renew(e.ctx, leases); err != nil {
		e.Fatalf("renew: %v", err)
	}
}

func (e *env) release(leases ...hub.Lease) {
	e.Helper()
	if err := e.store.Release(e.ctx, leases); err != nil {
		e.Fatalf("release: %v", err)
	}
}

func (e *env) present(room string, limit int) hub.Presence {
	e.Helper()
	p, err := e.store.Present(e.ctx, room, limit)
	if err != nil {
		e.Fatalf("present: %v", err)
	}
	return p
}

func (e *env) wantPresent(clients ...string) {
	e.Helper()
	p := e.present("room", 1000)
	var got []string
	for _, m := range p.Members {
		got = append(got, m.Client)
	}
	if fmt.Sprint(got) != fmt.Sprint(clients) || p.Count != len(clients) {
		e.Fatalf("present: %v, count %d; want %v", got, p.Count, clients)
	}
}

// wantEvent compares a presence event, by "+client count" or "-client count".
func (e *env) wantEvent(ev hub.PresenceEvent, want string) {
	e.Helper()
	sign := "-"
	if ev.Join {
		sign = "+"
	}
	if got := fmt.Sprint(sign, ev.Member.Client, " ", ev.Count); got != want || ev.Room != "room" || ev.Time == 0 {
		e.Errorf("event %q of room %q at %d, want %q", got, ev.Room, ev.Time, want)
	}
}

var presenceLaws = []law{
	{"JoinAndLeave", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		a, b := e.lease("a", "n1", ample), e.lease("b", "n1", ample)
		e.renew(a, b)
		e.wantPresent("a", "b")
		e.renew(a, b)
		e.release(a)
		e.wantPresent("b")
		e.release(a, b)
		e.wantPresent()
		events := e.wantEvents(w, 4)
		for i, want := range []string{"+a 1", "+b 2", "-a 1", "-b 0"} {
			e.wantEvent(events[i], want)
		}
		if len(events) != 4 || events[0].Member.From != "user a" || events[0].Member.Since == 0 || events[2].Member.From != "user a" {
			e.Errorf("events: %+v", events)
		}
	}},
	{"EmptyRoom", func(e *env) {
		e.open(Options{})
		if p := e.present("room", 10); p.Count != 0 || len(p.Members) != 0 {
			e.Fatalf("%+v", p)
		}
		e.release(e.lease("nobody", "n1", 1))
		e.renew()
		e.release()
		e.fill("room", 1)
		e.wantPresent()
	}},
	{"TwoHoldersOfOneClient", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		e.renew(e.lease("a", "n1", ample))
		e.renew(e.lease("a", "n2", ample))
		e.wantPresent("a")
		e.release(e.lease("a", "n1", ample))
		e.wantPresent("a")
		e.release(e.lease("a", "n3", ample)) // never held it
		e.wantPresent("a")
		e.release(e.lease("a", "n2", ample))
		e.wantPresent()
		e.renew(e.lease("end", "n1", ample))
		events := e.wantEvents(w, 3)
		for i, want := range []string{"+a 1", "-a 0", "+end 1"} {
			e.wantEvent(events[i], want)
		}
	}},
	{"LeaseExpires", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		e.renew(e.lease("a", "n1", 2), e.lease("b", "n1", ample))
		start := time.Now()
		e.pass(1)
		if e.within(start, 2) {
			if p := e.present("room", 10); e.within(start, 2) && p.Count != 2 {
				e.Fatalf("a lease ended early: %+v", p)
			}
		}
		e.pass(2)
		e.wantPresent("b")
		e.renew(e.lease("b", "n1", ample)) // whoever renews finds what has expired
		events := e.wantEvents(w, 3)
		e.wantEvent(events[2], "-a 1")
	}},
	{"RenewProlongs", func(e *env) {
		e.open(Options{})
		for range 4 {
			e.renew(e.lease("a", "n1", 3))
			if !e.b.RealTime {
				e.pass(2)
				e.wantPresent("a")
			}
		}
		e.pass(4)
		e.wantPresent()
	}},
	{"AShorterTTLShortens", func(e *env) {
		e.open(Options{})
		e.renew(e.lease("a", "n1", ample))
		e.renew(e.lease("a", "n1", 1))
		e.pass(2)
		e.wantPresent()
	}},
	{"OneHolderExpiresTheOtherStays", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		e.renew(e.lease("a", "n1", 1))
		e.renew(e.lease("a", "n2", ample))
		e.pass(2)
		e.wantPresent("a")
		e.renew(e.lease("end", "n2", ample))
		events := e.wantEvents(w, 2)
		e.wantEvent(events[0], "+a 1")
		e.wantEvent(events[1], "+end 2")
	}},
	{"RejoinAfterExpiryIsANewJoin", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		e.renew(e.lease("a", "n1", 1))
		e.renew(e.lease("b", "n1", ample))
		e.pass(2)
		e.renew(e.lease("a", "n1", ample))
		e.wantPresent("b", "a")
		events := e.wantEvents(w, 4)
		for i, want := range []string{"+a 1", "+b 2", "-a 1", "+a 2"} {
			e.wantEvent(events[i], want)
		}
		if p := e.present("room", 10); p.Members[1].Since <= events[0].Member.Since {
			e.Errorf("since %d, the first life began at %d", p.Members[1].Since, events[0].Member.Since)
		}
	}},
	{"OrderAndLimit", func(e *env) {
		e.open(Options{})
		var want []string
		for i := range 6 {
			c := fmt.Sprint(string(rune('f'-i)), i)
			want = append(want, c)
			e.renew(e.lease(c, "n1", ample))
			e.pass(1)
		}
		e.renew(e.lease(want[0], "n1", ample), e.lease(want[3], "n2", ample)) // renewing is not joining
		e.wantPresent(want...)
		p := e.present("room", 2)
		if p.Count != 6 || len(p.Members) != 2 || p.Members[0].Client != want[0] || p.Members[1].Client != want[1] {
			e.Errorf("limit 2: %+v", p)
		}
		if p = e.present("room", 0); p.Count != 6 || len(p.Members) != 0 {
			e.Errorf("limit 0: %+v", p)
		}
		last := int64(0)
		for _, m := range e.present("room", 10).Members {
			if m.Since < last {
				e.Errorf("since %d after %d", m.Since, last)
			}
			last = m.Since
		}
	}},
	{"ManyInOneCall", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		var leases []hub.Lease
		for i := range 700 {
			leases = append(leases, e.lease(fmt.Sprint("c", i), "n1", 2))
			other := e.lease("x", "n1", 2)
			other.Room = fmt.Sprint("other", i)
			leases = append(leases, other)
		}
		e.renew(leases...)
		if p := e.present("room", 5); p.Count != 700 && !e.b.RealTime {
			e.Fatalf("count %d", p.Count)
		}
		events := e.wantEvents(w, 700)
		for i, ev := range events[:700] {
			if !ev.Join || ev.Count != i+1 {
				e.Fatalf("event %d: %+v", i, ev)
			}
		}
		e.pass(3)
		if p := e.present("room", 5); p.Count != 0 {
			e.Fatalf("count %d after all expired", p.Count)
		}
		e.renew(e.lease("last", "n1", ample))
		events = e.wantEvents(w, 1401)
		for i, ev := range events[700:1400] {
			if ev.Join || ev.Count != 699-i {
				e.Fatalf("leave %d: %+v", i, ev)
			}
		}
		e.wantEvent(events[1400], "+last 1")
	}},
	{"RoomsAreApart", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		other := e.lease("a", "n1", ample)
		other.Room = "room2"
		e.renew(other, e.lease("b", "n1", ample))
		e.wantPresent("b")
		e.release(other)
		e.wantPresent("b")
		e.renew(e.lease("end", "n1", ample))
		events := e.wantEvents(w, 2)
		e.wantEvent(events[0], "+b 1")
		e.wantEvent(events[1], "+end 2")
	}},
	{"SameClientAtTheSameTime", func(e *env) {
		s := e.open(Options{})
		w, _ := e.watch(s, "room")
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				l := e.lease("a", fmt.Sprint("n", i), ample)
				for range 5 {
					if err := s.Renew(e.ctx, []hub.Lease{l}); err != nil {
						e.Error(err)
					}
				}
			})
		}
		wg.Wait()
		e.wantPresent("a")
		for i := range 8 {
			e.release(e.lease("a", fmt.Sprint("n", i), ample))
		}
		e.renew(e.lease("end", "n", ample))
		events := e.wantEvents(w, 3)
		for i, want := range []string{"+a 1", "-a 0", "+end 1"} {
			e.wantEvent(events[i], want)
		}
	}},
	{"HostileNames", func(e *env) {
		e.open(Options{})
		long := string(make([]byte, 200))
		clients := []string{"a", "a:b", "a|b", "a\x00b", "\xff\xfe", "{a}", "a b", long, "*", "0", "é"}
		for i, c := range clients {
			e.renew(e.lease(c, "b", ample))
			if c == "a" {
				e.renew(e.lease("a", "b:b", ample))
			}
			if n := e.present("room", 100).Count; n != i+1 {
				e.Fatalf("client %q: count %d, want %d", c, n, i+1)
			}
		}
		got := map[string]bool{}
		for _, m := range e.present("room", 100).Members {
			got[m.Client] = true
			if m.From != "user "+m.Client {
				e.Errorf("%q is from %q", m.Client, m.From)
			}
		}
		for _, c := range clients {
			if !got[c] {
				e.Errorf("%q is missing", c)
			}
			e.release(e.lease(c, "b", ample))
		}
		e.wantPresent("a") // held as "b:b"
	}},
}
