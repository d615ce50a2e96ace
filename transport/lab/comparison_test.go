//go:build linux

package lab

import (
	"context"
	"fmt"
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
	reach   []string      // the best that there is
	silent  bool
}{
	{name: "clean", best: "0.10 s", first: 100 * time.Millisecond, reach: []string{"websocket"}},
	{name: "handshake swallowed", best: "1.0 s", first: 1000 * time.Millisecond, options: middlebox.Options{Upgrade: middlebox.UpgradeSwallow}, reach: []string{"sse"}},
	{name: "101 passes, then no frame does", best: "0.6 s", first: 600 * time.Millisecond, options: middlebox.Options{Frames: middlebox.FramesDrop}, reach: []string{"sse"}},
	{name: "upgrade 403, response bodies held until they end", best: "0.2 s", first: 200 * time.Millisecond, options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "101 then nothing, and bodies held", best: "0.25 s", first: 250 * time.Millisecond, options: middlebox.Options{Frames: middlebox.FramesDrop, Hold: middlebox.HoldResponse}, reach: []string{"poll"}},
	{name: "WebSocket falls silent after 3 s", best: "35 s, 10 lost", reach: []string{"websocket"}, silent: true},
	{name: "upgrade 403, every request doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatAll}, reach: []string{"sse"}},
	{name: "upgrade 403, every POST doubled", best: "works", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Repeat: middlebox.RepeatPOST}, reach: []string{"sse"}},
	{name: "upgrade 403, 30 % of POST answers lost", best: "0 lost", options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Loss: 0.3, Seed: 9}, reach: []string{"sse"}},
}

// TestComparisonRows measures the nine rows in which other clients were
// measured, and holds the client to the best of these. It has the machine for
// itself, and its clients start one by one, as theirs did.
func TestComparisonRows(t *testing.T) {
	alone := make(slots, 1)
	all := everywhere(t)
	var judge judge
	t.Run("rows", func(t *testing.T) {
		for i, c := range comparison {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				judge.row(t, c.name, func(t *testing.T) []finding {
					return together(t, all, func(t *testing.T, rt runtime) finding {
						ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
						defer cancel()
						s := startServer(t)
						p := box(t, s.host, c.options)
						e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond, alone: alone}
						if c.silent {
							e.breaks = func() { _ = p.boxes[0].Set(middlebox.Options{Frames: middlebox.FramesDrop}) }
							e.notices = idleBar
						}
						f := e.exchange(t)
						// The others were measured to a hundredth of a second.
						if c.first > 0 && f.First.Round(10*time.Millisecond) > c.first {
							f.Late = append(f.Late, fmt.Sprintf("the first message after %v, where the best of the others had %v", f.First, c.first))
						}
						f.Table, f.Order, f.Row, f.Best = "Where other clients were measured", i, c.name, c.best
						return f
					})
				})
			})
		}
	})
	judge.again(t)
}

// silences are the ways in which a path that worked falls silent.
var silences = []struct {
	name    string
	reach   []string
	options middlebox.Options
	silence func(*middlebox.Box)
}{
	{"every connection is forgotten", []string{"websocket"}, middlebox.Options{}, (*middlebox.Box).Freeze},
	{"frames are dropped", []string{"websocket"}, middlebox.Options{}, func(b *middlebox.Box) { _ = b.Set(middlebox.Options{Frames: middlebox.FramesDrop}) }},
	{"streams are forgotten", []string{"sse"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse}, (*middlebox.Box).Freeze},
	{"polls are forgotten", []string{"poll"}, middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldResponse}, (*middlebox.Box).Freeze},
}

// TestSilence lets a path that worked fall silent, in each way that there is.
func TestSilence(t *testing.T) {
	t.Parallel()
	all := everywhere(t)
	var judge judge
	t.Run("rows", func(t *testing.T) {
		for i, c := range silences {
			for traffic, how := range []string{"idle", "under traffic"} {
				name := c.name + ", " + how
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					judge.row(t, name, func(t *testing.T) []finding {
						return together(t, all, func(t *testing.T, rt runtime) finding {
							ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
							defer cancel()
							s := startServer(t)
							p := box(t, s.host, c.options)
							e := &trial{ctx: ctx, path: p, direct: &path{url: s.url}, runtime: rt, reach: c.reach, every: 50 * time.Millisecond,
								traffic: traffic, notices: []time.Duration{idleBar, trafficBar}[traffic], breaks: func() { c.silence(p.boxes[0]) }}
							f := e.exchange(t)
							f.Table, f.Order, f.Row = "Paths that fall silent", i, name
							return f
						})
					})
				})
			}
		}
	})
	judge.again(t)
}
