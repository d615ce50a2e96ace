package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

// pacedFlags: one message at a time, however busy the machine is.
const pacedFlags = "--rate 4 --outstanding 1 --duration 3s --subscribers %d --transport %s"

func paced(ctx context.Context, b *bencher) ([]figure, error) {
	n := b.many(5000)
	var loads []load
	if b.limit != "" {
		loads = append(loads, load{"C", func() (*report.Result, error) { return b.benchLimit(ctx, 1, pacedFlags, n, "ws") }})
	}
	for _, t := range []string{"ws", "sse", "ndjson", "poll"} {
		loads = append(loads, load{t, func() (*report.Result, error) { return b.bench(ctx, pacedFlags, n, t) }})
	}
	rivals := []struct {
		transport, name string
		bar, stretch    float64
	}{{"ws", "WebSocket", 0.8, 0.65}, {"sse", "SSE", 0.8, 0.65}, {"poll", "long-poll", 1.0, 0.65}}
	if b.nginx == "" {
		rivals = nil
	}
	for _, t := range rivals {
		loads = append(loads, load{"Nchan " + t.transport, func() (*report.Result, error) { return b.benchNchan(ctx, pacedFlags, n, t.transport) }})
	}
	of, err := inTurns(loads)
	if err != nil {
		return nil, err
	}
	var f []figure
	c, limited := of["C"]
	if limited {
		f = append(f,
			figure{what: "WebSocket, CPU per delivery", format: micros, ours: of["ws"].delivery, beside: c.delivery, name: "C, a send(2) each", bar: 1.2, stretch: 1.1,
				short: "one message to 5,000 WebSockets, CPU per delivery"},
			figure{what: "WebSocket, p99 of publish to receive", format: millis, ours: of["ws"].p99, beside: c.p99, name: "C, a send(2) each", bar: 1.2,
				short: "the same, p99 from publish to receive"})
	}
	f = append(f,
		figure{what: "SSE, CPU per delivery", format: micros, ours: of["sse"].delivery, beside: of["ws"].delivery, name: "WebSocket", bar: 1.05},
		figure{what: "NDJSON, CPU per delivery", format: micros, ours: of["ndjson"].delivery, beside: of["ws"].delivery, name: "WebSocket", bar: 1.05},
		figure{what: "long-poll with its next poll, CPU per delivery", format: micros, ours: of["poll"].delivery, beside: of["ws"].delivery, name: "WebSocket", bar: 2.5, stretch: 1.8})
	if limited {
		// What Centrifugo 6.3 took in units of this C loop, on a machine like this one.
		const centrifugoWS, centrifugoSSE = 17.6 / 6.5, 23.5 / 6.5
		f = append(f,
			figure{what: "WebSocket, in units of C", format: times, ours: of["ws"].delivery / c.delivery, beside: centrifugoWS, name: "Centrifugo 6.3, measured before", bar: 0.5},
			figure{what: "SSE, in units of C", format: times, ours: of["sse"].delivery / c.delivery, beside: centrifugoSSE, name: "Centrifugo 6.3, measured before", bar: 0.5})
	}
	for _, t := range rivals {
		f = append(f, figure{what: t.name + ", CPU per delivery", format: micros, ours: of[t.transport].delivery, beside: of["Nchan "+t.transport].delivery, name: "Nchan", bar: t.bar, stretch: t.stretch,
			short: "the same by " + t.name + ", CPU per delivery"})
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
			figure{what: "WebSocket, CPU per delivery", format: micros, ours: ours["ws"].CPU.PerDelivery, beside: c.CPU.PerDelivery, name: "C, 8 messages a call", bar: 1.3, stretch: 1.1,
				short: "eight messages at a time, CPU per delivery"},
			figure{what: "WebSocket, CPU per write", format: micros, ours: ours["ws"].CPU.PerDelivery * ours["ws"].Traffic.PerRead,
				beside: c.CPU.PerDelivery * c.Traffic.PerRead, name: "C, 8 messages a call"},
			figure{what: "WebSocket, messages in one write", format: times, ours: ours["ws"].Traffic.PerRead, beside: c.Traffic.PerRead, name: "C, 8 messages a call"})
	}
	return append(f,
		figure{what: "SSE, CPU per delivery", format: micros, ours: ours["sse"].CPU.PerDelivery, beside: ours["ws"].CPU.PerDelivery, name: "WebSocket", bar: 1.05},
		figure{what: "NDJSON, CPU per delivery", format: micros, ours: ours["ndjson"].CPU.PerDelivery, beside: ours["ws"].CPU.PerDelivery, name: "WebSocket", bar: 1.05},
	), nil
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
		{what: "kernel and user memory of a stalled one", format: memSize, ours: with.Stalled.KernelEach + max(with.Stalled.UserEach, 0), bar: 160 << 10, stretch: 64 << 10,
			note: "the server's whole growth meanwhile, divided among the stalled"},
	}, nil
}

func scale(ctx context.Context, b *bencher) ([]figure, error) {
	var f []figure
	var costs, ratios []float64
	for _, n := range []int{100, 1000, 5000, 15000} {
		ours, err := b.deliveryCost(ctx, b.many(n), b.bench)
		if err != nil {
			return nil, err
		}
		costs = append(costs, ours)
		at := figure{what: fmt.Sprintf("%s subscribers, CPU per delivery", report.Number(float64(b.many(n)))), format: micros, ours: ours}
		if b.limit != "" {
			c, err := b.deliveryCost(ctx, b.many(n), func(ctx context.Context, format string, args ...any) (*report.Result, error) {
				return b.benchLimit(ctx, 1, format, args...)
			})
			if err != nil {
				return nil, err
			}
			at.beside, at.name = c, "C, a send(2) each"
			ratios = append(ratios, ours/c)
		}
		f = append(f, at)
	}
	f = append(f, figure{what: "dearest of these, CPU per delivery", format: micros, ours: slices.Max(costs), beside: slices.Min(costs), name: "the cheapest", bar: 1.15})
	if len(ratios) > 0 {
		f = append(f, figure{what: "the same in units of C", format: times, ours: slices.Max(ratios), beside: slices.Min(ratios), name: "the cheapest"})
	}
	return f, nil
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

// manyRooms spreads the same deliveries over the same number of connections in
// more and more rooms. The kernel does the same each time, so no C is needed;
// what publishing costs without subscribers is deducted.
func manyRooms(ctx context.Context, b *bencher) ([]figure, error) {
	n, some, half := b.many(10000), b.many(100), b.many(5000)
	var loads []load
	add := func(rooms, subscribers int) string {
		// A batch to as many rooms, so that few requests make many deliveries.
		// Fewer messages are on their way than there are rooms, so that no
		// subscriber gets two in one write.
		flags := fmt.Sprintf("--rooms %d --subscribers %d --outstanding 1 --connecting 512 --duration 2s", rooms, subscribers)
		if rooms > 1 {
			flags += fmt.Sprintf(" --spread --batch %d", min(rooms/2, 1000))
		}
		if subscribers == 0 {
			flags += " --until answered --settle 0"
		}
		loads = append(loads, load{flags, func() (*report.Result, error) { return b.bench(ctx, "%s", flags) }})
		return flags
	}
	var full, empty []string // loads, with and without subscribers
	spread := []int{1, some, n}
	for _, rooms := range spread {
		full, empty = append(full, add(rooms, n)), append(empty, add(rooms, 0))
	}
	one, three := add(half, half), add(half, 3*half)
	of, err := inTurns(loads)
	if err != nil {
		return nil, err
	}
	var f []figure
	for i, rooms := range spread {
		each := float64(n / rooms)
		line := figure{what: fmt.Sprintf("%s rooms of %s", report.Number(float64(rooms)), report.Number(each)), format: micros,
			ours: of[full[i]].delivery - of[empty[i]].publish/each}
		if i == 0 {
			line.what = fmt.Sprintf("one room of %s", report.Number(each))
		} else {
			line.beside, line.name, line.bar = f[0].ours, "one room", 1.15
		}
		f = append(f, line)
	}
	return append(f, figure{what: fmt.Sprintf("a further reader, in %s rooms", report.Number(float64(half))), format: micros,
		ours: (3*of[three].delivery - of[one].delivery) / 2, beside: f[0].ours, name: "one room"}), nil
}
