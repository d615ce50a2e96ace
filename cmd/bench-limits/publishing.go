package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

func publishing(ctx context.Context, b *bencher) ([]figure, error) {
	store, err := b.goBench(ctx, "store/memory", "^BenchmarkPublishWithKey$", "1s")
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
		{what: "memory store with key, in-process, per core", format: perSecond, ours: 1e9 / store["BenchmarkPublishWithKey ns/op"], bar: 500_000, stretch: 1_000_000,
			short: "publishing with an idempotency key, in-process, a core", least: true},
		{what: "over HTTP with key, one subscriber a room, per core", format: perSecond, ours: 1e6 / one.CPU.PerPublish, bar: 35_000, stretch: 45_000,
			short: "the same over HTTP, delivered to a subscriber, a core", least: true},
		{what: "over HTTP in batches of 100, one subscriber a room, per core", format: perSecond, ours: 1e6 / batches.CPU.PerPublish, bar: 300_000,
			short: "the same in batches of 100, a core", least: true},
	}, nil
}

// redisLoads is what redis-benchmark is tried with, as store/redis names it.
var redisLoads = []string{"c=64,P=1", "c=64,P=8", "c=16,P=32", "c=8,P=64"}

func redis(ctx context.Context, b *bencher) ([]figure, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, fmt.Errorf("%w: redis-server is not installed", errLeftOut)
	}
	var flags []string
	if b.pinned {
		flags = []string{"-server-core", "0"}
	}
	ours, err := b.goBench(ctx, "store/redis", "^BenchmarkPublish$/^key=true$/^publishers=(64|512)$", "150000x", flags...)
	if err != nil {
		return nil, err
	}
	const most = "BenchmarkPublish/key=true/publishers=%d publishes/s"
	rate := func(publishers int) float64 { return ours[fmt.Sprintf(most, publishers)] }
	var f []figure
	if _, err := exec.LookPath("redis-benchmark"); err != nil {
		f = append(f, figure{what: "512 publishers", format: perSecond, ours: rate(512), note: "redis-benchmark is not installed"})
	} else {
		all, err := b.goBench(ctx, "store/redis", "^BenchmarkRedisBenchmark$", "100000x", flags...)
		if err != nil {
			return nil, err
		}
		best, tried := 0.0, ""
		for _, load := range redisLoads {
			v := all["BenchmarkRedisBenchmark/"+load+" publishes/s"]
			best = max(best, v)
			tried += fmt.Sprintf(", %s %s", strings.NewReplacer("=", " ", ",", " -", "c", "-c").Replace(load), perSecond(v))
		}
		f = append(f, figure{what: "512 publishers", format: perSecond, least: true, bar: 0.6, stretch: 0.8,
			ours: rate(512), beside: best, name: "redis-benchmark at its best", note: "redis-benchmark in the first run: " + tried[2:],
			short: "publishing with key and history through Redis"})
	}
	if b.goredis == "" {
		return f, nil
	}
	rivals, err := b.goBench(ctx, "store/redis", "^BenchmarkGoRedis$", "60000x", append(flags, "-goredis", b.goredis)...)
	if err != nil {
		return nil, err
	}
	for _, n := range []int{64, 512} {
		f = append(f, figure{what: fmt.Sprintf("%d publishers", n), format: perSecond, least: true, bar: 3,
			ours: rate(n), beside: rivals[fmt.Sprintf("BenchmarkGoRedis/goroutines=%d publishes/s", n)], name: fmt.Sprintf("go-redis, %d goroutines", n)})
	}
	return f, nil
}
