package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

// result is a row after all its runs, or as many as there were.
type result struct {
	row     row
	figures [][]figure // by line, then by run
	leftOut string
	err     error
}

// measure runs a row so many times. Progress goes to standard error.
func (b *bencher) measure(ctx context.Context, r row, runs int) result {
	res := result{row: r}
	for i := range runs {
		began := time.Now()
		figures, err := r.run(ctx, b)
		if errors.Is(err, errLeftOut) {
			res.leftOut = err.Error()
			return res
		}
		if err != nil {
			res.err = fmt.Errorf("%s, run %d: %w", r.name, i+1, err)
			return res
		}
		fmt.Fprintf(os.Stderr, "%s, run %d of %d, %s\n", r.name, i+1, runs, time.Since(began).Round(time.Second))
		for j, f := range figures {
			fmt.Fprintf(os.Stderr, "  %-62s %s\n", f.what, f.line())
			if j == len(res.figures) {
				res.figures = append(res.figures, nil)
			}
			res.figures[j] = append(res.figures[j], f)
		}
	}
	return res
}

func (f figure) line() string {
	text := f.format(f.ours)
	if f.beside > 0 {
		text += fmt.Sprintf("  %s %s  %.2f", f.name, f.format(f.beside), f.judged())
	}
	return text
}

// page writes the results down.
func (b *bencher) page(results []result, runs int) string {
	var p strings.Builder
	p.WriteString("# What Culvert costs, beside its limits\n\n")
	p.WriteString(b.verdict(results))
	fmt.Fprintf(&p, "\n%s\n%s%s\n", shortBegins, b.short(results), shortEnds)
	fmt.Fprintf(&p, `
## How to read it

Every figure is the median of %d runs, with the least and the most in brackets. A ratio is of runs that followed each other
within a minute, so the machine's moods are in both; what stands here is the median of the runs' ratios, which is not always that
of the medians beside it. Figures of other machines differ, ratios much less. A bar is what the
project has promised itself and is judged by the median, or by the worst run where the row says so, a stretch goal what it would like. CPU is user and system time of
the server's process by the operating system's accounting, memory its resident memory. Messages have 128 bytes where
nothing else is said. The bench checks every message of every run: none lost, none twice, all in order, or the run fails.

To repeat it: `+"`make bench`"+`, on a machine that does nothing else, or `+"`go run ./cmd/bench-limits -rows paced,burst`"+` for some of it
(`+"`-list`"+` names the rows). What each row runs is in [rows.go](rows.go) and the files beside it, the C loop is [c/limit.c](c/limit.c),
Nchan's configuration [nchan/nchan.conf](nchan/nchan.conf), go-redis' program [goredis](goredis). Compared are programs that
take the same load; none is tuned beyond its manual.

Where:

`, runs)
	fmt.Fprintf(&p, "- %s\n", b.machine())
	if b.pinned {
		p.WriteString("- the server on one core, its clients on another, for everybody alike; these stay awake while messages come, " +
			"since waking a reader of the same machine is no server's work where readers are elsewhere\n")
	}
	for _, text := range b.versions() {
		fmt.Fprintf(&p, "- %s\n", text)
	}
	if b.scale != 1 {
		fmt.Fprintf(&p, "- the numbers of subscribers multiplied by %g\n", b.scale)
	}
	for _, text := range b.left {
		fmt.Fprintf(&p, "- left out: %s\n", text)
	}
	for _, r := range results {
		fmt.Fprintf(&p, "\n## %s%s\n\n%s\n\n", strings.ToUpper(r.row.about[:1]), r.row.about[1:], r.row.means)
		if len(r.figures) > 0 {
			p.WriteString("| what | Culvert | beside it | ratio | bar | | stretch goal | |\n|---|---|---|---|---|---|---|---|\n")
			for _, runs := range r.figures {
				writeFigure(&p, runs)
			}
			for _, runs := range r.figures {
				if f := runs[0]; f.note != "" {
					fmt.Fprintf(&p, "\n%s: %s.\n", f.what, f.note)
				}
			}
		}
		if r.leftOut != "" {
			fmt.Fprintf(&p, "%s.\n", r.leftOut)
		}
		if r.err != nil {
			// Programs' output is no part of the page.
			text, _, _ := strings.Cut(r.err.Error(), "\n")
			fmt.Fprintf(&p, "\n**Failed:** %s\n", text)
		}
	}
	return p.String()
}

// verdict counts what was met.
func (b *bencher) verdict(results []result) string {
	var bars, met, goals, reached, failed int
	var missed []string
	for _, r := range results {
		if r.err != nil {
			failed++
		}
		for _, runs := range r.figures {
			f := runs[0]
			if f.bar > 0 {
				bars++
				if holds(runs, f.bar) {
					met++
				} else {
					missed = append(missed, r.row.name+": "+f.what)
				}
			}
			if f.stretch > 0 {
				goals++
				if holds(runs, f.stretch) {
					reached++
				}
			}
		}
	}
	text := fmt.Sprintf("%d of %d bars are met, and %d of %d stretch goals.", met, bars, reached, goals)
	if failed > 0 {
		text += fmt.Sprintf(" %d rows failed.", failed)
	}
	if len(missed) > 0 {
		text += " Missed:\n\n- " + strings.Join(missed, "\n- ")
	}
	return text + "\n"
}

// short is the table that others quote: the figures that tell most, medians
// only.
func (b *bencher) short(results []result) string {
	var p strings.Builder
	p.WriteString("| what | Culvert | beside it |\n|---|---|---|\n")
	for _, r := range results {
		for _, runs := range r.figures {
			f := runs[0]
			if f.short == "" {
				continue
			}
			beside := ""
			if f.beside > 0 {
				beside = f.format(middle(runs, func(f figure) float64 { return f.beside })) + ", " + f.name
			}
			fmt.Fprintf(&p, "| %s | %s | %s |\n", f.short, f.format(middle(runs, func(f figure) float64 { return f.ours })), beside)
		}
	}
	return p.String()
}

func writeFigure(p *strings.Builder, runs []figure) {
	f := runs[0]
	of := func(value func(figure) float64, format func(float64) string) string {
		v := sorted(runs, value)
		if len(v) == 1 {
			return format(v[0])
		}
		return fmt.Sprintf("%s (%s - %s)", format(median(v)), format(v[0]), format(v[len(v)-1]))
	}
	beside, ratio := "", ""
	if f.beside > 0 {
		beside = f.name + ": " + of(func(f figure) float64 { return f.beside }, f.format)
		ratio = of(figure.judged, times)
	}
	goal := func(v float64, yes, no string) (string, string) {
		if v == 0 {
			return "", ""
		}
		format, sign, verdict := f.format, "≤", no
		if f.beside > 0 {
			format = times
		}
		if f.least {
			sign = "≥"
		}
		if holds(runs, v) {
			verdict = yes
		}
		return sign + " " + format(v), verdict
	}
	bar, met := goal(f.bar, "met", "**missed**")
	stretch, reached := goal(f.stretch, "reached", "not yet")
	fmt.Fprintf(p, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", f.what,
		of(func(f figure) float64 { return f.ours }, f.format), beside, ratio, bar, met, stretch, reached)
}

// holds tells whether the median, or every run where that is asked for, keeps to
// a bar or goal.
func holds(runs []figure, goal float64) bool {
	v := middle(runs, figure.judged)
	if runs[0].always {
		all := sorted(runs, figure.judged)
		if v = all[len(all)-1]; runs[0].least {
			v = all[0]
		}
	}
	if runs[0].least {
		return v >= goal
	}
	return v <= goal
}

func sorted(runs []figure, value func(figure) float64) []float64 {
	var v []float64
	for _, f := range runs {
		v = append(v, value(f))
	}
	slices.Sort(v)
	return v
}

func middle(runs []figure, value func(figure) float64) float64 { return median(sorted(runs, value)) }

// median of sorted values.
func median(v []float64) float64 {
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

func (b *bencher) machine() string {
	text := fmt.Sprintf("%d cores", runtime.NumCPU())
	if cpu := usage.Processor(); cpu != "" {
		text += " (" + cpu + ")"
	}
	text += ", " + runtime.GOOS + "/" + runtime.GOARCH
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		text += ", Linux " + strings.TrimSpace(string(release))
	}
	return text
}
