package main

import "context"

func memory(ctx context.Context, b *bencher) ([]figure, error) {
	var f []figure
	// Idle connections of Centrifugo 6.3, measured before with the same load.
	centrifugo := map[string]float64{"ws": 39.0 * 1024, "sse": 59.0 * 1024}
	label := map[string]string{"ws": "WebSocket", "sse": "SSE", "ndjson": "NDJSON", "poll": "long-poll"}
	for _, t := range []string{"ws", "sse", "ndjson", "poll"} {
		r, err := b.bench(ctx, "--subscribers %d --transport %s --duration 0 --settle 6s", b.many(15000), t)
		if err != nil {
			return nil, err
		}
		f = append(f, figure{what: label[t] + ", resident memory per idle connection", format: memSize, ours: r.Memory.IdleEach, bar: 4096, stretch: 2048,
			short: "one of 15,000 idle connections, " + label[t] + ", resident memory"})
		if rival := centrifugo[t]; rival > 0 {
			f = append(f, figure{what: label[t] + ", the same", format: memSize, ours: r.Memory.IdleEach, beside: rival, name: "Centrifugo 6.3, measured before", bar: 0.1})
		}
	}
	return f, nil
}

func storm(ctx context.Context, b *bencher) ([]figure, error) {
	const missed = 100
	r, err := b.bench(ctx, "--subscribers %d --rooms 100 --outstanding 8 --duration 4s --storm %d --side-rooms 10 --side-rate 200 --connecting 512", b.many(10000), missed)
	if err != nil {
		return nil, err
	}
	live, err := b.bench(ctx, "--subscribers %d --rooms 100 --rate 300 --duration 4s", b.many(10000))
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "CPU per client that comes back", format: micros, ours: r.Storm.PerClient, beside: missed * live.CPU.PerDelivery, name: "100 messages delivered live, paced", bar: 3,
			short: "coming back with 100 messages missed, CPU per client"},
		{what: "longest delay in other rooms meanwhile", format: millis, ours: r.Storm.Side.Max, bar: 50, always: true},
	}, nil
}

func smallRooms(ctx context.Context, b *bencher) ([]figure, error) {
	r, err := b.bench(ctx, "--subscribers %d --outstanding 8 --duration 6s --side-rooms 100 --side-rate 100", b.many(15000))
	if err != nil {
		return nil, err
	}
	return []figure{{what: "p99 in the small rooms", format: millis, ours: r.Side.P99, bar: 20, stretch: 5,
		short: "two readers beside 15,000 under burst, p99 from publish to receive"}}, nil
}

func start(ctx context.Context, b *bencher) ([]figure, error) {
	r, err := b.bench(ctx, "--subscribers 1 --duration 0 --settle 0")
	if err != nil {
		return nil, err
	}
	return []figure{{what: "start to ready", format: millis, ours: r.ReadyMS, bar: 100,
		short: "from start to ready"}}, nil
}
