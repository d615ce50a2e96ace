package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// row is one thing that is measured. A run of it has one or more figures, the
// same ones in every run.
type row struct {
	name, about string
	run         func(ctx context.Context, b *bencher) ([]figure, error)
}

// figure is one line of the page: what was measured, and beside what.
type figure struct {
	what   string
	format func(float64) string
	ours   float64
	beside float64 // what limits it; 0: nothing does but the bar
	name   string  // of that
	bar    float64 // on the ratio where there is something beside it, else on ours
	least  bool    // the bar is the least that is wanted, not the most
	note   string
}

// judged is what the bar is for.
func (f figure) judged() float64 {
	if f.beside > 0 {
		return f.ours / f.beside
	}
	return f.ours
}

var rows = []row{
	{"paced", "fan-out to 5,000 in one room, four messages a second: beside C, beside each other, beside Nchan", paced},
	{"burst", "the same with eight messages outstanding, beside C that writes eight in one call", burst},
	{"memory", "resident memory of 15,000 idle connections of each transport", memory},
	{"stalled", "fan-out while 1 % of the subscribers do not read, and what these hold", stalled},
	{"scale", "cost of a delivery from 100 to 15,000 subscribers, and beside 10,000 other rooms", scale},
	{"publish", "publishing in-process, over HTTP, and in batches", publishing},
	{"redis", "publishing through redis-server, beside the bare script", redis},
	{"storm", "10,000 clients come back at once with 100 messages missed each", storm},
	{"small", "100 rooms of two beside one of 15,000 under burst", smallRooms},
	{"start", "from the start of the process to ready", start},
}

func micros(v float64) string { return report.Micros(v) }
func millis(v float64) string { return report.Millis(v) }
func memSize(v float64) string {
	return report.Bytes(int64(v))
}
func perSecond(v float64) string { return report.Number(float64(int64(v))) + "/s" }
func times(v float64) string     { return fmt.Sprintf("%.2f", v) }

// many is a number of subscribers, scaled.
func (b *bencher) many(n int) int { return max(int(float64(n)*b.scale), 10) }

// pacedFlags: one message at a time, however busy the machine is.
const pacedFlags = "--rate 4 --outstanding 1 --duration 6s --subscribers %d --transport %s"

func paced(ctx context.Context, b *bencher) ([]figure, error) {
	n := b.many(5000)
	ours := map[string]*report.Result{}
	var err error
	var c *report.Result
	if b.limit != "" {
		if c, err = b.benchLimit(ctx, 1, pacedFlags, n, "ws"); err != nil {
			return nil, err
		}
	}
	for _, t := range []string{"ws", "sse", "ndjson", "poll"} {
		if ours[t], err = b.bench(ctx, pacedFlags, n, t); err != nil {
			return nil, err
		}
	}
	var f []figure
	cpu := func(t string) float64 { return ours[t].CPU.PerDelivery }
	if c != nil {
		f = append(f,
			figure{what: "WebSocket, CPU per delivery", format: micros, ours: cpu("ws"), beside: c.CPU.PerDelivery, name: "C, a send(2) each", bar: 1.2},
			figure{what: "WebSocket, p99 of publish to receive", format: millis, ours: ours["ws"].Latency.P99, beside: c.Latency.P99, name: "C, a send(2) each", bar: 1.2})
	}
	f = append(f,
		figure{what: "SSE, CPU per delivery", format: micros, ours: cpu("sse"), beside: cpu("ws"), name: "WebSocket", bar: 1.05},
		figure{what: "NDJSON, CPU per delivery", format: micros, ours: cpu("ndjson"), beside: cpu("ws"), name: "WebSocket", bar: 1.05},
		figure{what: "long-poll with its next poll, CPU per delivery", format: micros, ours: cpu("poll"), beside: cpu("ws"), name: "WebSocket", bar: 2.5})
	if c != nil {
		// What Centrifugo 6.3 took in units of this C loop, on a machine like this one.
		const centrifugoWS, centrifugoSSE = 17.6 / 6.5, 23.5 / 6.5
		f = append(f,
			figure{what: "WebSocket, in units of C", format: times, ours: cpu("ws") / c.CPU.PerDelivery, beside: centrifugoWS, name: "Centrifugo 6.3, measured before", bar: 0.5},
			figure{what: "SSE, in units of C", format: times, ours: cpu("sse") / c.CPU.PerDelivery, beside: centrifugoSSE, name: "Centrifugo 6.3, measured before", bar: 0.5})
	}
	if b.nginx != "" {
		for _, t := range []struct {
			transport, name string
			bar             float64
		}{{"ws", "WebSocket", 0.8}, {"sse", "SSE", 0.8}, {"poll", "long-poll", 1.0}} {
			nchan, err := b.benchNchan(ctx, pacedFlags, n, t.transport)
			if err != nil {
				return nil, err
			}
			f = append(f, figure{what: t.name + ", CPU per delivery", format: micros, ours: cpu(t.transport), beside: nchan.CPU.PerDelivery, name: "Nchan", bar: t.bar})
		}
	}
	return f, nil
}

func burst(ctx context.Context, b *bencher) ([]figure, error) {
	const flags = "--outstanding 8 --duration 5s --subscribers %d --transport %s"
	n := b.many(5000)
	var f []figure
	ours := map[string]*report.Result{}
	var err error
	for _, t := range []string{"ws", "sse", "ndjson"} {
		if ours[t], err = b.bench(ctx, flags, n, t); err != nil {
			return nil, err
		}
	}
	if b.limit != "" {
		c, err := b.benchLimit(ctx, 8, flags, n, "ws")
		if err != nil {
			return nil, err
		}
		f = append(f,
			figure{what: "WebSocket, CPU per delivery", format: micros, ours: ours["ws"].CPU.PerDelivery, beside: c.CPU.PerDelivery, name: "C, 8 messages a call", bar: 1.3},
			figure{what: "WebSocket, CPU per write", format: micros, ours: ours["ws"].CPU.PerDelivery * ours["ws"].Traffic.PerRead,
				beside: c.CPU.PerDelivery * c.Traffic.PerRead, name: "C, 8 messages a call"},
			figure{what: "WebSocket, messages in one write", format: times, ours: ours["ws"].Traffic.PerRead, beside: c.Traffic.PerRead, name: "C, 8 messages a call"})
	}
	return append(f,
		figure{what: "SSE, CPU per delivery", format: micros, ours: ours["sse"].CPU.PerDelivery, beside: ours["ws"].CPU.PerDelivery, name: "WebSocket", bar: 1.05},
		figure{what: "NDJSON, CPU per delivery", format: micros, ours: ours["ndjson"].CPU.PerDelivery, beside: ours["ws"].CPU.PerDelivery, name: "WebSocket", bar: 1.05},
	), nil
}

func memory(ctx context.Context, b *bencher) ([]figure, error) {
	var f []figure
	// Idle connections of Centrifugo 6.3, measured before with the same load.
	centrifugo := map[string]float64{"ws": 39.0 * 1024, "sse": 59.0 * 1024}
	for _, t := range []string{"ws", "sse", "ndjson", "poll"} {
		r, err := b.bench(ctx, "--subscribers %d --transport %s --duration 0 --settle 6s", b.many(15000), t)
		if err != nil {
			return nil, err
		}
		f = append(f, figure{what: t + ", resident memory per idle connection", format: memSize, ours: r.Memory.IdleEach, bar: 4096})
		if rival := centrifugo[t]; rival > 0 {
			f = append(f, figure{what: t + ", the same", format: memSize, ours: r.Memory.IdleEach, beside: rival, name: "Centrifugo 6.3, measured before", bar: 0.1})
		}
	}
	return f, nil
}

func stalled(ctx context.Context, b *bencher) ([]figure, error) {
	const flags = "--outstanding 8 --duration 6s --size 1000 --subscribers %d %s"
	n := b.many(5000)
	without, err := b.bench(ctx, flags, n, "")
	if err != nil {
		return nil, err
	}
	with, err := b.bench(ctx, flags, n, "--stalled 1%")
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "CPU per delivery, 1 % stalled", format: micros, ours: with.CPU.PerDelivery, beside: without.CPU.PerDelivery, name: "none stalled", bar: 1.05},
		{what: "p99 for the rest, 1 % stalled", format: millis, ours: with.Latency.P99, beside: without.Latency.P99, name: "none stalled", bar: 1.05},
		{what: "kernel and user memory of a stalled one", format: memSize, ours: with.Stalled.KernelEach + max(with.Stalled.UserEach, 0), bar: 160 << 10,
			note: "the server's whole growth meanwhile, divided among the stalled"},
	}, nil
}

func scale(ctx context.Context, b *bencher) ([]figure, error) {
	var f []figure
	if b.limit != "" {
		cheapest, dearest := 0.0, 0.0
		for _, n := range []int{100, 1000, 5000, 15000} {
			ours, err := b.deliveryCost(ctx, b.many(n), b.bench)
			if err != nil {
				return nil, err
			}
			c, err := b.deliveryCost(ctx, b.many(n), func(ctx context.Context, format string, args ...any) (*report.Result, error) {
				return b.benchLimit(ctx, 1, format, args...)
			})
			if err != nil {
				return nil, err
			}
			ratio := ours / c
			f = append(f, figure{what: fmt.Sprintf("%s subscribers, CPU per delivery", report.Number(float64(b.many(n)))), format: micros, ours: ours, beside: c, name: "C, a send(2) each"})
			if dearest = max(dearest, ratio); cheapest == 0 || ratio < cheapest {
				cheapest = ratio
			}
		}
		f = append(f, figure{what: "dearest of these, in units of C", format: times, ours: dearest, beside: cheapest, name: "the cheapest", bar: 1.15,
			note: "in units of C, since what the kernel does for few connections stays in the processor's cache"})
	}
	alone, err := b.bench(ctx, "--subscribers %d --outstanding 1 --duration 4s", b.many(5000))
	if err != nil {
		return nil, err
	}
	beside, err := b.bench(ctx, "--subscribers %d --outstanding 1 --duration 4s --side-rooms %d --side-subscribers 1 --side-rate 0", b.many(5000), min(b.many(10000), 10000))
	if err != nil {
		return nil, err
	}
	return append(f, figure{what: "5,000 subscribers beside 10,000 other rooms", format: micros, ours: beside.CPU.PerDelivery, beside: alone.CPU.PerDelivery, name: "no other room", bar: 1.15}), nil
}

// deliveryCost is the cost of a delivery, one message at a time, without that
// of publishing, which few subscribers share.
func (b *bencher) deliveryCost(ctx context.Context, n int, bench func(context.Context, string, ...any) (*report.Result, error)) (float64, error) {
	r, err := bench(ctx, "--subscribers %d --outstanding 1 --duration 3s", n)
	if err != nil {
		return 0, err
	}
	if n > 2000 {
		return r.CPU.PerDelivery, nil // publishing is less than a hundredth of it
	}
	publish, err := bench(ctx, "--subscribers 0 --outstanding 1 --until answered --duration 2s --settle 0")
	if err != nil {
		return 0, err
	}
	return r.CPU.PerDelivery - publish.CPU.PerPublish/float64(n), nil
}

func publishing(ctx context.Context, b *bencher) ([]figure, error) {
	store, err := b.goBench(ctx, 1, "store/memory", "^BenchmarkPublishWithKey$", "BenchmarkPublishWithKey ns/op")
	if err != nil {
		return nil, err
	}
	one, err := b.bench(ctx, "--subscribers 100 --rooms 100 --outstanding 32 --until answered --keys --duration 5s")
	if err != nil {
		return nil, err
	}
	batches, err := b.bench(ctx, "--subscribers 100 --rooms 100 --outstanding 8 --batch 100 --until answered --duration 5s")
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "memory store with key, in-process, per core", format: perSecond, ours: 1e9 / store, bar: 500_000, least: true},
		{what: "over HTTP with key, one subscriber a room, per core", format: perSecond, ours: 1e6 / one.CPU.PerPublish, bar: 35_000, least: true},
		{what: "over HTTP in batches of 100, one subscriber a room, per core", format: perSecond, ours: 1e6 / batches.CPU.PerPublish, bar: 300_000, least: true},
	}, nil
}

// errLeftOut is a row that cannot be measured here, with the reason.
var errLeftOut = errors.New("left out")

func redis(ctx context.Context, b *bencher) ([]figure, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("%w: redis-server is not installed", errLeftOut)
	}
	ours, err := b.goBench(ctx, runtime.NumCPU(), "store/redis", "^BenchmarkPublish$/^key=true$/^publishers=512$", "BenchmarkPublish/key=true/publishers=512 ns/op")
	if err != nil {
		return nil, err
	}
	bare, err := b.goBench(ctx, runtime.NumCPU(), "store/redis", "^BenchmarkBare$/^outstanding=512$", "BenchmarkBare/outstanding=512 ns/op")
	if err != nil {
		return nil, err
	}
	return []figure{{
		what: "through one redis-server, with key and history, 512 publishers", format: perSecond, least: true, bar: 0.6,
		ours: 1e9 / ours, beside: 1e9 / bare, name: "the bare script, 512 outstanding",
	}}, nil
}

func storm(ctx context.Context, b *bencher) ([]figure, error) {
	const missed = 100
	r, err := b.bench(ctx, "--subscribers %d --rooms 100 --outstanding 8 --duration 4s --storm %d --side-rooms 10 --connecting 512", b.many(10000), missed)
	if err != nil {
		return nil, err
	}
	live, err := b.bench(ctx, "--subscribers %d --rooms 100 --rate 300 --duration 4s", b.many(10000))
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "CPU per client that comes back", format: micros, ours: r.Storm.PerClient, beside: missed * live.CPU.PerDelivery, name: "100 messages delivered live, paced", bar: 3},
		{what: "longest delay in other rooms meanwhile", format: millis, ours: r.Storm.Side.Max, bar: 50},
	}, nil
}

func smallRooms(ctx context.Context, b *bencher) ([]figure, error) {
	r, err := b.bench(ctx, "--subscribers %d --outstanding 8 --duration 6s --side-rooms 100 --side-rate 100", b.many(15000))
	if err != nil {
		return nil, err
	}
	return []figure{{what: "p99 in the small rooms", format: millis, ours: r.Side.P99, bar: 20}}, nil
}

func start(ctx context.Context, b *bencher) ([]figure, error) {
	r, err := b.bench(ctx, "--subscribers 1 --duration 0 --settle 0")
	if err != nil {
		return nil, err
	}
	return []figure{{what: "start to ready", format: millis, ours: r.ReadyMS, bar: float64(100 * time.Millisecond / time.Millisecond)}}, nil
}
