package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

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
			figure{what: "WebSocket, CPU per delivery", format: micros, ours: cpu("ws"), beside: c.CPU.PerDelivery, name: "C, a send(2) each", bar: 1.2, stretch: 1.1,
				short: "one message to 5,000 WebSockets, CPU per delivery"},
			figure{what: "WebSocket, p99 of publish to receive", format: millis, ours: ours["ws"].Latency.P99, beside: c.Latency.P99, name: "C, a send(2) each", bar: 1.2,
				short: "the same, p99 from publish to receive"})
	}
	f = append(f,
		figure{what: "SSE, CPU per delivery", format: micros, ours: cpu("sse"), beside: cpu("ws"), name: "WebSocket", bar: 1.05},
		figure{what: "NDJSON, CPU per delivery", format: micros, ours: cpu("ndjson"), beside: cpu("ws"), name: "WebSocket", bar: 1.05},
		figure{what: "long-poll with its next poll, CPU per delivery", format: micros, ours: cpu("poll"), beside: cpu("ws"), name: "WebSocket", bar: 2.5, stretch: 1.8})
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
			bar, stretch    float64
		}{{"ws", "WebSocket", 0.8, 0.65}, {"sse", "SSE", 0.8, 0.65}, {"poll", "long-poll", 1.0, 0.65}} {
			nchan, err := b.benchNchan(ctx, pacedFlags, n, t.transport)
			if err != nil {
				return nil, err
			}
			f = append(f, figure{what: t.name + ", CPU per delivery", format: micros, ours: cpu(t.transport), beside: nchan.CPU.PerDelivery, name: "Nchan", bar: t.bar, stretch: t.stretch,
				short: "the same by " + t.name + ", CPU per delivery"})
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
	n := b.many(10000)
	var f []figure
	first := 0.0
	for _, rooms := range []int{1, b.many(100), n} {
		// A batch to as many rooms, so that few requests make many deliveries.
		// Fewer messages are on their way than there are rooms, so that no
		// subscriber gets two in one write.
		load := fmt.Sprintf("--rooms %d --outstanding 1", rooms)
		if rooms > 1 {
			load += fmt.Sprintf(" --spread --batch %d", min(rooms/2, 1000))
		}
		r, err := b.bench(ctx, "%s --subscribers %d --connecting 512 --duration 3s", load, n)
		if err != nil {
			return nil, err
		}
		publish, err := b.bench(ctx, "%s --subscribers 0 --until answered --duration 2s --settle 0", load)
		if err != nil {
			return nil, err
		}
		each := float64(n / rooms)
		cost := r.CPU.PerDelivery - publish.CPU.PerPublish/each
		line := figure{what: fmt.Sprintf("%s rooms of %s", report.Number(float64(rooms)), report.Number(each)), format: micros, ours: cost}
		if first == 0 {
			first = cost
			line.what = fmt.Sprintf("one room of %s", report.Number(each))
		} else {
			line.beside, line.name, line.bar = first, "one room", 1.15
		}
		f = append(f, line)
	}
	return f, nil
}
