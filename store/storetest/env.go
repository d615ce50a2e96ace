package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
)

// patience is how long something asynchronous may take before the suite calls
// it lost. It decides nothing in a passing run.
const patience = 20 * time.Second

// ample is a life that no law outlives.
const ample = 10_000

// env is one law's surroundings. Its methods end the test where something
// fails that the law is not about.
type env struct {
	*testing.T
	b       Backend
	ctx     context.Context
	store   hub.Store // of open, or the first of openTwo
	advance func(time.Duration)
}

func newEnv(t *testing.T, b Backend) *env {
	if b.Unit == 0 {
		b.Unit = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return &env{T: t, b: b, ctx: ctx}
}

// open makes the law's store.
func (e *env) open(o Options) hub.Store {
	e.Helper()
	in := e.b.Open(e.T, o)
	e.Cleanup(func() { in.Store.Close() })
	e.store, e.advance = in.Store, in.Advance
	return in.Store
}

func (e *env) openTwo(o Options) (a, b hub.Store) {
	e.Helper()
	x, y := e.b.OpenTwo(e.T, o)
	e.Cleanup(func() { x.Store.Close(); y.Store.Close() })
	e.store, e.advance = x.Store, x.Advance
	return x.Store, y.Store
}

// span is a life of n units and a half.
func (e *env) span(n int) time.Duration { return time.Duration(n)*e.b.Unit + e.b.Unit/2 }

// pass lets n units pass.
func (e *env) pass(n int) { e.advance(time.Duration(n) * e.b.Unit) }

// within says that a life of n units that began at start cannot have ended:
// always so where time stands still between calls of pass.
func (e *env) within(start time.Time, n int) bool {
	return !e.b.RealTime || time.Since(start) < e.span(n)
}

func fingerprint(data string, ephemeral bool) hub.Fingerprint {
	h := sha256.Sum256(fmt.Appendf(nil, "%t %s", ephemeral, data))
	return hub.Fingerprint(h[:16])
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return b
}

// message is a publish without a key.
func message(room, data string) hub.Publish {
	return hub.Publish{Room: room, ID: hub.NewMessageID(), From: "u", Data: quote(data)}
}

// keyed is a publish with a key whose life is long.
func (e *env) keyed(room, subject, key, data string) hub.Publish {
	p := message(room, data)
	p.Subject, p.Key, p.KeyTTL = subject, key, e.span(ample)
	p.Fingerprint = fingerprint(data, false)
	return p
}

// try publishes one.
func (e *env) try(p hub.Publish) hub.Result {
	e.Helper()
	return e.tryOn(e.store, p)
}

func (e *env) tryOn(s hub.Store, p hub.Publish) hub.Result {
	e.Helper()
	res := s.Publish(e.ctx, []hub.Publish{p})
	if len(res) != 1 {
		e.Fatalf("%d results for one publish", len(res))
	}
	return res[0]
}

// must publishes one that has to be applied now.
func (e *env) must(p hub.Publish) hub.Result {
	e.Helper()
	return e.mustOn(e.store, p)
}

func (e *env) mustOn(s hub.Store, p hub.Publish) hub.Result {
	e.Helper()
	res := e.tryOn(s, p)
	if res.Err != nil {
		e.Fatalf("publish to %q: %v", p.Room, res.Err)
	}
	if res.Duplicate {
		e.Fatalf("publish to %q (key %q): called a duplicate", p.Room, p.Key)
	}
	if p.Ephemeral {
		if res.Position != (hub.Position{}) {
			e.Fatalf("an ephemeral message got the position %v", res.Position)
		}
	} else if res.Position.ID != p.ID || res.Position.Epoch == "" || res.Position.Offset == 0 {
		e.Fatalf("publish of id %q got the position %v", p.ID, res.Position)
	}
	return res
}

// fill publishes n messages and returns their positions.
func (e *env) fill(room string, n int) []hub.Position {
	e.Helper()
	var out []hub.Position
	for i := range n {
		out = append(out, e.must(message(room, fmt.Sprint("m", i+1))).Position)
	}
	return out
}

func (e *env) read(q hub.ReadRequest) hub.Page {
	e.Helper()
	return e.readOn(e.store, q)
}

func (e *env) readOn(s hub.Store, q hub.ReadRequest) hub.Page {
	e.Helper()
	if q.Limit == 0 {
		q.Limit = 10_000
	}
	page, err := s.Read(e.ctx, q)
	if err != nil {
		e.Fatalf("read %q from %v: %v", q.Room, q.From, err)
	}
	return page
}

// after reads what follows a position.
func (e *env) after(room string, p hub.Position) hub.Page {
	e.Helper()
	return e.read(hub.ReadRequest{Room: room, Mode: hub.ReadAfter, From: p})
}

// all reads the whole history.
func (e *env) all(room string) hub.Page {
	e.Helper()
	return e.read(hub.ReadRequest{Room: room, Mode: hub.ReadOldest})
}

func (e *env) head(room string) hub.Position {
	e.Helper()
	heads, err := e.store.Heads(e.ctx, []string{room})
	if err != nil || len(heads) != 1 {
		e.Fatalf("heads of %q: %v, %v", room, heads, err)
	}
	return heads[0]
}

func positions(msgs []*hub.Message) []hub.Position {
	var out []hub.Position
	for _, m := range msgs {
		out = append(out, m.Position())
	}
	return out
}

// samePositions compares; nil and empty are the same.
func (e *env) samePositions(what string, got, want []hub.Position) {
	e.Helper()
	if !slices.Equal(got, want) {
		e.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// wantGap compares a page's gap.
func (e *env) wantGap(page hub.Page, want hub.Gap) {
	e.Helper()
	if page.Gap == nil {
		e.Fatalf("no gap, want %+v; the page has %v", want, positions(page.Messages))
	}
	if *page.Gap != want {
		e.Fatalf("gap:\n got %+v\nwant %+v", *page.Gap, want)
	}
}

func (e *env) wantNoGap(page hub.Page) {
	e.Helper()
	if page.Gap != nil {
		e.Fatalf("a gap where nothing is missing: %+v", *page.Gap)
	}
}

func (e *env) wantErr(err, want error) {
	e.Helper()
	if !errors.Is(err, want) {
		e.Fatalf("error is %v, want one that wraps %q", err, want)
	}
}
