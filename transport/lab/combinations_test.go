//go:build linux

package lab

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// The same seed draws the same combinations. The default stays the same, so that
// a change is not failed by what others left; other seeds look further.
var (
	seed         = flag.Uint64("lab.seed", 1, "draws the combinations of TestCombinations")
	combinations = flag.Int("lab.combinations", 12, "how many of them")
)

// misbehaviour is one that middleboxes may show beside others.
type misbehaviour struct {
	// group: of one group there is one at most, for they exclude each other.
	group string
	// draw adds it to the options and says what it is.
	draw func(*rand.Rand, *middlebox.Options) string
}

// between draws a whole number of milliseconds.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return (least + time.Duration(r.Int64N(int64(most-least)+1))).Round(time.Millisecond)
}

func one[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// heldKinds are responses that middleboxes hold back.
var heldKinds = []struct {
	name string
	held func(*http.Request, http.Header) bool
}{{"streams", middlebox.Streams}, {"event streams", middlebox.EventStreams}, {"event streams asked for by GET", middlebox.GETEventStreams}}

var misbehaviours = []misbehaviour{
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.Upgrade = middlebox.UpgradeStrip
		return "upgrade stripped"
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.Upgrade, o.UpgradeStatus = middlebox.UpgradeRefuse, one(r, 400, 403, 404, 426, 502)
		return fmt.Sprintf("upgrade %d", o.UpgradeStatus)
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.Upgrade = middlebox.UpgradeReset
		return "upgrade reset"
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.Upgrade = middlebox.UpgradeSwallow
		return "upgrade swallowed"
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		kind := r.IntN(3)
		o.Frames = []middlebox.Frames{middlebox.FramesDrop, middlebox.FramesHold, middlebox.FramesCorrupt}[kind]
		said := "frames " + []string{"dropped", "held", "spoilt"}[kind]
		if r.IntN(2) == 0 {
			o.FramesAfter = between(r, 500*time.Millisecond, 3*time.Second)
			said += fmt.Sprintf(" after %v", o.FramesAfter)
		}
		return said
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.WebSocketAge = between(r, time.Second, 4*time.Second)
		return fmt.Sprintf("WebSockets end at %v", o.WebSocketAge)
	}},
	{"websocket", func(r *rand.Rand, o *middlebox.Options) string {
		o.MaxFrame = one(r, 1<<10, 4<<10, 8<<10)
		return fmt.Sprintf("reset at frames of %d bytes", o.MaxFrame)
	}},
	{"connection", func(r *rand.Rand, o *middlebox.Options) string {
		o.ForgetAfter = between(r, 3*time.Second, 8*time.Second)
		return fmt.Sprintf("connections forgotten at %v", o.ForgetAfter)
	}},
	{"connection", func(r *rand.Rand, o *middlebox.Options) string {
		o.IdleTimeout, o.IdleForget = between(r, time.Second, 5*time.Second), r.IntN(2) == 0
		return fmt.Sprintf("idle connections %s after %v", map[bool]string{false: "ended", true: "forgotten"}[o.IdleForget], o.IdleTimeout)
	}},
	{"connection", func(r *rand.Rand, o *middlebox.Options) string {
		o.KillAtBytes = int64(one(r, 20<<10, 40<<10, 60<<10))
		return fmt.Sprintf("reset at %d bytes", o.KillAtBytes)
	}},
	{"delay", func(r *rand.Rand, o *middlebox.Options) string {
		o.Delay, o.Jitter = between(r, 10*time.Millisecond, 150*time.Millisecond), between(r, 0, 50*time.Millisecond)
		return fmt.Sprintf("%v each way and up to %v more", o.Delay, o.Jitter)
	}},
	{"bandwidth", func(r *rand.Rand, o *middlebox.Options) string {
		o.BytesPerSecond = one(r, 32<<10, 64<<10, 128<<10)
		return fmt.Sprintf("%d bytes a second", o.BytesPerSecond)
	}},
	{"hold", func(r *rand.Rand, o *middlebox.Options) string {
		kind, held := r.IntN(2), one(r, heldKinds...)
		o.Hold, o.Held = []middlebox.Hold{middlebox.HoldResponse, middlebox.HoldBody}[kind], held.held
		return []string{"", "bodies of "}[kind] + held.name + " held"
	}},
	{"hold", func(r *rand.Rand, o *middlebox.Options) string {
		o.Hold = middlebox.HoldResponse
		return "every response held"
	}},
	{"hold", func(r *rand.Rand, o *middlebox.Options) string {
		o.HoldFirst, o.Held = one(r, 512, 2<<10, 4<<10), middlebox.Streams
		return fmt.Sprintf("first %d bytes of streams held", o.HoldFirst)
	}},
	{"hold", func(r *rand.Rand, o *middlebox.Options) string {
		o.Lumps, o.Held = one(r, 1<<10, 4<<10, 8<<10), middlebox.Streams
		return fmt.Sprintf("streams in lumps of %d bytes", o.Lumps)
	}},
	{"hold", func(r *rand.Rand, o *middlebox.Options) string {
		o.Batch, o.Held = between(r, 500*time.Millisecond, 3*time.Second), middlebox.Streams
		return fmt.Sprintf("streams batched for %v", o.Batch)
	}},
	{"compression", func(r *rand.Rand, o *middlebox.Options) string {
		o.GzipHold = true
		return "compressed without a flush"
	}},
	{"cap", func(r *rand.Rand, o *middlebox.Options) string {
		o.CapResponse = between(r, 3*time.Second, 8*time.Second)
		return fmt.Sprintf("responses cut at %v", o.CapResponse)
	}},
	{"version", func(r *rand.Rand, o *middlebox.Options) string {
		o.HTTP10 = true
		return "HTTP/1.0"
	}},
	{"loss", func(r *rand.Rand, o *middlebox.Options) string {
		o.Loss, o.LossStatus = one(r, 0.1, 0.2, 0.3), one(r, 0, 502, 504)
		if r.IntN(3) == 0 {
			o.LossMethods = []string{"GET", "POST"}
		}
		return fmt.Sprintf("%.0f %% of the answers to %s lost (%d)", 100*o.Loss, map[bool]string{true: "POST", false: "GET and POST"}[o.LossMethods == nil], o.LossStatus)
	}},
	{"reuse", func(r *rand.Rand, o *middlebox.Options) string {
		o.DropReused = true
		return "reused connections drop"
	}},
	{"strip", func(r *rand.Rand, o *middlebox.Options) string {
		o.Strip = []string{"Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "Content-Type"}
		return "headers stripped"
	}},
	{"strip response", func(r *rand.Rand, o *middlebox.Options) string {
		o.StripResponse = []string{"Cache-Control", "X-Accel-Buffering", "Retry-After", "Vary"}
		return "headers of responses stripped"
	}},
	{"methods", func(r *rand.Rand, o *middlebox.Options) string {
		o.Methods = []string{"GET", "POST"}
		return "GET and POST only"
	}},
	{"lengths", func(r *rand.Rand, o *middlebox.Options) string {
		o.MaxURL, o.MaxBody = one(r, 1<<10, 2<<10), one(r, 2<<10, 8<<10)
		return fmt.Sprintf("URLs of %d bytes, bodies of %d", o.MaxURL, o.MaxBody)
	}},
	{"cache", func(r *rand.Rand, o *middlebox.Options) string {
		o.Cache, o.Merge = 30*time.Second, r.IntN(2) == 0
		return map[bool]string{false: "cached", true: "cached and merged"}[o.Merge]
	}},
	{"repeat", func(r *rand.Rand, o *middlebox.Options) string {
		kind := r.IntN(2)
		o.Repeat = []middlebox.Repeat{middlebox.RepeatAll, middlebox.RepeatPOST}[kind]
		return []string{"every request", "every POST"}[kind] + " doubled"
	}},
	{"answer", func(r *rand.Rand, o *middlebox.Options) string {
		a := one(r, middlebox.CaptivePortal(), middlebox.ProxyAuthRequired(), middlebox.Busy(503, time.Second, 0), middlebox.Busy(429, 0, 0), middlebox.Busy(502, 0, 0))
		a.Share = one(r, 0.05, 0.1, 0.2)
		o.Answer = a
		return fmt.Sprintf("%.0f %% answered %d", 100*a.Share, a.Status)
	}},
}

// combination draws two to five misbehaviours, of different groups.
func combination(seed, n uint64) (middlebox.Options, string) {
	r := rand.New(rand.NewPCG(seed, n))
	o := middlebox.Options{Seed: r.Uint64()}
	var said, groups []string
	for want := 2 + r.IntN(4); len(said) < want; {
		m := one(r, misbehaviours...)
		if !slices.Contains(groups, m.group) {
			groups = append(groups, m.group)
			said = append(said, m.draw(r, &o))
		}
	}
	return o, strings.Join(said, "; ")
}

// combinedBar is in which the first message has arrived through whatever meets:
// as long as the client waits for one request. Alone, each has the bar of its row.
const combinedBar = 10 * time.Second

// TestCombinations lets misbehaviours meet that were drawn by chance. Nothing may
// be lost, repeated or out of order, and nobody waits for ever.
func TestCombinations(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	for n := range *combinations {
		o, said := combination(*seed, uint64(n))
		t.Run(fmt.Sprintf("seed %d, %d", *seed, n), func(t *testing.T) {
			t.Parallel()
			for _, rt := range all {
				t.Run(rt.name(), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
					defer cancel()
					s := startServer(t)
					p := box(t, s.host, o)
					// The client's file does not come through the box: a browser does not
					// ask again for a script that was lost.
					e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, every: 50 * time.Millisecond, beside: true}
					f := e.exchange(t)
					t.Logf("%s: %s", said, f.Transport)
					if f.First > combinedBar {
						t.Errorf("%s: the first message after %v, more than %v", said, f.First, combinedBar)
					}
					f.Table, f.Order, f.Row, f.Late = "Combinations drawn by chance", n, fmt.Sprintf("seed %d, %d: %s", *seed, n, said), nil
					found(t, f)
				})
			}
		})
	}
}

// TestEveryMisbehaviourIsDrawn: what a middlebox can do is among the
// misbehaviours that are combined.
func TestEveryMisbehaviourIsDrawn(t *testing.T) {
	drawn := map[string]bool{"Seed": true, "Only": true} // these two are no misbehaviours
	for _, m := range misbehaviours {
		for n := range uint64(10) { // what is drawn by half shows up
			var o middlebox.Options
			m.draw(rand.New(rand.NewPCG(n, n)), &o)
			if err := o.Validate(); err != nil {
				t.Error(err)
			}
			v := reflect.ValueOf(o)
			for i := range v.NumField() {
				if !v.Field(i).IsZero() {
					drawn[v.Type().Field(i).Name] = true
				}
			}
		}
	}
	kind := reflect.TypeFor[middlebox.Options]()
	for i := range kind.NumField() {
		if name := kind.Field(i).Name; !drawn[name] {
			t.Errorf("no misbehaviour has %s", name)
		}
	}
}
