package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

func publishing(ctx context.Context, b *bencher) ([]figure, error) {
	store, err := b.goBench(ctx, "store/memory", "^BenchmarkPublishWithKey$", "1s")
	if err != nil {
		return nil, err
	}
	if err := known(store, "BenchmarkPublishWithKey ns/op"); err != nil {
		return nil, err
	}
	// The bound on keys is none that a fast machine reaches meanwhile.
	const flags = "--subscribers 100 --rooms 100 --until answered --keys --duration 5s --serve-flags --max-keys=10000000 "
	one, err := b.bench(ctx, flags+"--outstanding 32")
	if err != nil {
		return nil, err
	}
	batches, err := b.bench(ctx, flags+"--outstanding 8 --batch 100")
	if err != nil {
		return nil, err
	}
	return []figure{
		{what: "memory store with key, in-process, per core", format: perSecond, ours: 1e9 / store["BenchmarkPublishWithKey ns/op"], bar: 500_000, stretch: 1_000_000,
			short: "publishing with an idempotency key, in-process, a core", least: true},
		{what: "over HTTP with key, one subscriber a room, per core", format: perSecond, ours: 1e6 / one.CPU.PerPublish, bar: 35_000, stretch: 45_000,
			short: "the same over HTTP, delivered to a subscriber, a core", least: true},
		{what: "over HTTP with keys in batches of 100, one subscriber a room, per core", format: perSecond, ours: 1e6 / batches.CPU.PerPublish, bar: 300_000,
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
	const most = "BenchmarkPublish/key=true/publishers=%d "
	for _, n := range []int{64, 512} {
		if err := known(ours, fmt.Sprintf(most+"publishes/s", n), fmt.Sprintf(most+"op/call", n)); err != nil {
			return nil, err
		}
	}
	rate := func(publishers int) float64 { return ours[fmt.Sprintf(most+"publishes/s", publishers)] }
	together := func(publishers int) string {
		return fmt.Sprintf("Culvert's store sent %s messages in one call in the first run", report.Number(ours[fmt.Sprintf(most+"op/call", publishers)]))
	}
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
			name := "BenchmarkRedisBenchmark/" + load + " publishes/s"
			if err := known(all, name); err != nil {
				return nil, err
			}
			v := all[name]
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
		name := fmt.Sprintf("BenchmarkGoRedis/goroutines=%d publishes/s", n)
		if err := known(rivals, name); err != nil {
			return nil, err
		}
		f = append(f, figure{what: fmt.Sprintf("%d publishers", n), format: perSecond, least: true, bar: 3,
			ours: rate(n), beside: rivals[name], name: fmt.Sprintf("go-redis, %d goroutines", n), note: together(n)})
	}
	return f, nil
}

// known tells which figure of a benchmark is missing: none would be taken for
// one of zero, and a bar for met.
func known(figures map[string]float64, names ...string) error {
	for _, name := range names {
		if figures[name] <= 0 {
			return fmt.Errorf("the benchmark says nothing of %q", name)
		}
	}
	return nil
}
