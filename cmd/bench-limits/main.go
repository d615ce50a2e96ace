// Bench-limits measures Culvert beside what limits it: a C loop of send(2) over
// the same sockets, Nchan, redis-benchmark and go-redis where they are there,
// and the bars that the project has set itself. It runs "culvert bench" and Go
// benchmarks for every row several times and writes one page with the least, the
// median and the most of each.
//
//	go run ./cmd/bench-limits                     everything, about twenty minutes
//	go run ./cmd/bench-limits -rows paced,burst   some of it
//	go run ./cmd/bench-limits -list               what there is
//
// Absolute figures depend on the machine and on what else it does; ratios are of
// runs that follow each other within seconds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench-limits:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench-limits", flag.ContinueOnError)
	only := flags.String("rows", "", "rows to measure, apart by commas; all where none is named")
	runs := flags.Int("runs", 3, "how often each is measured")
	out := flags.String("out", "", "file to write the page to; the standard output where none is named")
	readme := flags.String("readme", "", "file whose short table is to be made anew")
	scale := flags.Float64("scale", 1, "factor on the number of subscribers, for smaller machines")
	list := flags.Bool("list", false, "list the rows")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *runs < 1 || *scale <= 0 || *scale > 10 {
		return fmt.Errorf("it takes flags only, -runs of 1 and more, and a -scale up to 10")
	}
	chosen := rows
	if *only != "" {
		chosen = nil
		for name := range strings.SplitSeq(*only, ",") {
			i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
			if i < 0 {
				return fmt.Errorf("there is no row %q; -list lists them", name)
			}
			chosen = append(chosen, rows[i])
		}
	}
	if *list {
		for _, r := range chosen {
			fmt.Printf("%-10s%s\n", r.name, r.about)
		}
		return nil
	}
	folder, err := os.MkdirTemp("", "culvert-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bencher{folder: folder, scale: *scale, pinned: runtime.NumCPU() >= 2 && runtime.GOOS == "linux"}
	if err := b.build(ctx); err != nil {
		return err
	}
	// What has been measured is written down even where something fails later.
	var results []result
	var failed []error
	for _, r := range chosen {
		res := b.measure(ctx, r, *runs)
		results = append(results, res)
		failed = append(failed, res.err)
		if ctx.Err() != nil {
			break
		}
	}
	page := b.page(results, *runs)
	if *out == "" {
		_, err = os.Stdout.WriteString(page)
	} else {
		err = os.WriteFile(*out, []byte(page), 0o644)
	}
	if *readme != "" && err == nil {
		err = quote(*readme, page)
	}
	return errors.Join(append(failed, err)...)
}
