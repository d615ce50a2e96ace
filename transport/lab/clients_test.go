//go:build linux

package lab

import (
	"context"
	"flag"
	"slices"
	"sync"
	"testing"
	"time"
)

// runtimes starts what runs the client, once for all tests.
func runtimes(t *testing.T) []runtime {
	t.Helper()
	clientFile(t)
	program(t, "node")
	program(t, "chromium")
	started.Do(func() { started.all = []runtime{newNode(lasting{t}), newChromium(lasting{t})} })
	if started.all == nil {
		t.Fatal("another test could not start them")
	}
	return started.all
}

var started struct {
	sync.Once
	all []runtime
}

var firefoxToo = flag.Bool("lab.firefox", false, "runs TestClients in Firefox, too, which takes minutes")

// everywhere is runtimes, and Firefox.
func everywhere(t *testing.T) []runtime {
	t.Helper()
	all := runtimes(t)
	program(t, "firefox-esr")
	fox.Do(func() { fox.runtime = newFirefox(lasting{t}) })
	if fox.runtime == nil {
		t.Fatal("another test could not start it")
	}
	return append(slices.Clone(all), fox.runtime)
}

var fox struct {
	sync.Once
	runtime *inPages
}

// TestClients shows, for every row and for the client in Node and in Chromium,
// that 40 messages in each direction arrive whole, once and in order, how long
// the first one takes, which transport it comes to, and, when all connections
// that are open then fall silent, how long the next message takes.
func TestClients(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	if *firefoxToo {
		all = everywhere(t)
	}
	var judge judge
	t.Run("rows", func(t *testing.T) {
		for i, r := range rows {
			t.Run(r.title(), func(t *testing.T) {
				t.Parallel()
				judge.row(t, r.title(), func(t *testing.T) []finding { return r.run(t, i, all) })
			})
		}
	})
	judge.again(t)
}

// run is one measurement of a row, the i-th.
func (r row) run(t *testing.T, i int, all []runtime) []finding {
	if r.namespace {
		if left, ran := namespaced(t, "TestClients/rows/"+r.title()); ran {
			return left
		}
	}
	s := startServer(t)
	p := r.start(t, s.host)
	switch {
	case r.namespace:
		kernelForgets(t, p)
	case !r.onlyHTTP2:
		p = relayed(t, p)
	}
	if p.proxy != nil { // fetch in Node knows no proxies, and nobody told Firefox
		all = slices.DeleteFunc(slices.Clone(all), func(rt runtime) bool { return rt.name() != "chromium" })
	}
	if r.onlyHTTP2 {
		all = slices.DeleteFunc(slices.Clone(all), func(rt runtime) bool { return rt.name() == "firefox" })
	}
	return together(t, all, func(t *testing.T, rt runtime) finding {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		p := p
		if r.onlyHTTP2 {
			// A relay of its own. What falls silent for one client must not for the
			// other as well: a second silence soon after the first finds dead also
			// what a browser has opened since then.
			p = relayed(t, p)
		}
		e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: r.reaches(), every: 50 * time.Millisecond, rest: r.rest,
			breaks: p.forget, traffic: 1, notices: trafficBar, home: r.home}
		if r.every > 0 {
			e.every = r.every
		}
		if rt.name() == "chromium" && r.chromium != nil {
			e.reach = r.chromium
		}
		f := e.exchange(t)
		f.Table, f.Order, f.Row = "Every row of the catalogue", 1000*r.number+i, r.title()
		if r.number == 0 {
			f.Order += 1_000_000
		}
		return f
	})
}

// together runs a measurement in each runtime, at the same time.
func together(t *testing.T, all []runtime, measure func(*testing.T, runtime) finding) []finding {
	var mu sync.Mutex
	var findings []finding
	t.Run("client", func(t *testing.T) {
		for _, rt := range all {
			t.Run(rt.name(), func(t *testing.T) {
				t.Parallel()
				f := measure(t, rt)
				mu.Lock()
				defer mu.Unlock()
				findings = append(findings, f)
			})
		}
	})
	return findings
}

// reaches are the transports of which the client should come to one: the best
// that the path allows.
func (r row) reaches() []string {
	if r.reach != nil {
		return r.reach
	}
	if r.does[ws] == "" {
		return []string{"websocket"}
	}
	for _, f := range streams {
		if r.does[f] == "" {
			return []string{"sse"}
		}
	}
	return []string{"poll"}
}
