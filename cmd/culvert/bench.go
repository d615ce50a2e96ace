package main

import (
	"context"

	"github.com/culvertd/culvert/cmd/internal/bench"
	"github.com/culvertd/culvert/cmd/internal/settings"
)

func benchCommand() command {
	return command{
		name:      "bench",
		arguments: bench.Arguments,
		summary:   bench.Summary,
		about:     bench.About,
		examples:  bench.Examples,
		declare: func(s *settings.Set) func(context.Context, []string, stdio) error {
			run := bench.Declare(s, release)
			return func(ctx context.Context, args []string, std stdio) error { return run(ctx, args, std.out, std.err) }
		},
	}
}
