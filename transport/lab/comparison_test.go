//go:build linux

package lab

import (
	"context"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// comparison are the paths on which Socket.IO 4.8 (twice: as it comes, and with
// WebSocket first), SockJS 1.6 and centrifuge-js 5.7 were measured, with 40
// messages as here. best is the best of these: seconds to the first message, or
// what else the row is about.
var comparison = []struct {
	name    string
	options middlebox.Options
	best    string
	first   time.Duration // of the best; 0: not what the row is about
	reach   []string
	silent  bool
}{
	{name: "clean", best: "0.10 s", first: 100 * time.Millisecond, reach: []string{"websocket"}},
	{name: "handshake swallowed", best: "1.0 s", first: 1000 * time.Millisecond, options: middlebox.Options{Upgrade: middlebox.UpgradeSwallow}},
	{name: "101 passes, then no frame does", best: "0.6 s", first: 600 * time.Millisecond, options: middlebox.Options{Frames: middlebox.FramesDrop}},
	{name: "upgrade 403, response bodies held until they end", best: "0.2 s", first: 200 * time.Millisecond, options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "101 then nothing, and bodies held", best: "0.25 s", first: 250 * time.Millisecond, options: middlebox.Options{Frames: middlebox.FramesDrop, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "WebSocket falls silent after 3 s", best: "35 s, 10 lost", reach: []string{"websocket"}, silent: true},
	{name: "upgrade 403, every request doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatAll}},
	{name: "upgrade 403, every POST doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatPOST}},
	{name: "upgrade 403, 30 % of POST answers lost", best: "0 lost", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 9}},
}

// TestComparisonRows measures the nine rows in which other clients were
// measured. It has the machine for itself, and its clients start one by one.
func TestComparisonRows(t *testing.T) {
	alone := make(slots, 1)
	all := runtimes(t)
	for i, c := range comparison {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, rt := range all {
				t.Run(rt.name(), func(t *testing.T) {
					t.Parallel()
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
					defer cancel()
					s := startServer(t)
					p := box(t, s.host, c.options)
					e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond, alone: alone}
					if c.silent {
						e.breaks = func() { _ = p.boxes[0].Set(middlebox.Options{Frames: middlebox.FramesDrop}) }
					}
					f := e.exchange(t)
					if c.silent {
						inTime(t, "to notice the silence", f.Noticed, idleBar)
					}
					// Those were measured one at a time, on a machine with nothing else to do.
					if c.first > 0 && f.First > c.first+250*time.Millisecond {
						timely(t, "%v to the first message, where the best of the others had %v", f.First, c.first)
					}
					f.Table, f.Order, f.Row, f.Best = "Where other clients were measured", i, c.name, c.best
					found(t, f)
				})
			}
		})
	}
}

// A silent path is noticed within 20 s, and within 3 s under traffic.
const (
	idleBar    = 20 * time.Second
	trafficBar = 3 * time.Second
)

// TestSilence lets a path that worked fall silent, in each way that there is.
func TestSilence(t *testing.T) {
	t.Parallel()
	all := runtimes(t)
	for i, c := range []struct {
		name    string
		reach   []string
		options middlebox.Options
		silence func(*middlebox.Box)
	}{
		{"every connection is forgotten", []string{"websocket"}, middlebox.Options{}, (*middlebox.Box).Freeze},
		{"frames are dropped", []string{"websocket"}, middlebox.Options{}, func(b *middlebox.Box) { _ = b.Set(middlebox.Options{Frames: middlebox.FramesDrop}) }},
		{"streams are forgotten", []string{"sse"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse}, (*middlebox.Box).Freeze},
		{"polls are forgotten", []string{"poll"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, (*middlebox.Box).Freeze},
	} {
		for traffic, how := range []string{"idle", "under traffic"} {
			name := c.name + ", " + how
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, rt := range all {
					t.Run(rt.name(), func(t *testing.T) {
						t.Parallel()
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						defer cancel()
						s := startServer(t)
						p := box(t, s.host, c.options)
						e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond, traffic: traffic,
							breaks: func() { c.silence(p.boxes[0]) }}
						f := e.exchange(t)
						limit := idleBar
						if traffic > 0 {
							limit = trafficBar
						}
						f.Table, f.Order, f.Row = "Paths that fall silent", i, name
						found(t, f)
						// No allowance: what a busy machine takes is in the bars.
						if f.Noticed > limit {
							timely(t, "the silence was noticed after %v, and the bar is %v", f.Noticed, limit)
						}
					})
				}
			})
		}
	}
}
