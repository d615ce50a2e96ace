package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

// result is a row after all its runs.
type result struct {
	row     row
	figures [][]figure // by line, then by run
	leftOut string
}

// measure runs a row so many times. Progress goes to standard error.
func (b *bencher) measure(ctx context.Context, r row, runs int) (result, error) {
	res := result{row: r}
	for i := range runs {
		began := time.Now()
		figures, err := r.run(ctx, b)
		if errors.Is(err, errLeftOut) {
			res.leftOut = err.Error()
			return res, nil
		}
		if err != nil {
			return res, fmt.Errorf("%s: %w", r.name, err)
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
	return res, nil
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
	p.WriteString("Made by `make bench`; what each row does is in [rows.go](rows.go), the C loop in [c/limit.c](c/limit.c), Nchan's configuration in\n" +
		"[nchan/nchan.conf](nchan/nchan.conf). CPU and memory are the operating system's figures for the server's process, messages have 128 bytes.\n" +
		"Every figure is the median of ")
	fmt.Fprintf(&p, "%d runs, with the least and the most in brackets; a ratio is of runs that followed each other.\n", runs)
	p.WriteString("Every message of every run was checked: none lost, none twice, all in order.\n\n")
	fmt.Fprintf(&p, "- %s\n- %s\n", b.machine(), strings.Join(b.versions(), "; "))
	if b.pinned {
		p.WriteString("- the server on one core, the bench on another\n")
	}
	if b.scale != 1 {
		fmt.Fprintf(&p, "- the numbers of subscribers multiplied by %g\n", b.scale)
	}
	for _, text := range b.left {
		fmt.Fprintf(&p, "- left out: %s\n", text)
	}
	for _, r := range results {
		fmt.Fprintf(&p, "\n## %s%s\n\n", strings.ToUpper(r.row.about[:1]), r.row.about[1:])
		if r.leftOut != "" {
			fmt.Fprintf(&p, "%s.\n", r.leftOut)
			continue
		}
		p.WriteString("| what | Culvert | beside it | ratio | bar | |\n|---|---|---|---|---|---|\n")
		for _, runs := range r.figures {
			writeFigure(&p, runs)
		}
	}
	return p.String()
}

func writeFigure(p *strings.Builder, runs []figure) {
	f := runs[0]
	of := func(value func(figure) float64, format func(float64) string) string {
		var v []float64
		for _, f := range runs {
			v = append(v, value(f))
		}
		slices.Sort(v)
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
	bar, met := "", ""
	if f.bar > 0 {
		format := f.format
		if f.beside > 0 {
			format = times
		}
		var v []float64
		for _, f := range runs {
			v = append(v, f.judged())
		}
		slices.Sort(v)
		ok, sign := median(v) <= f.bar, "≤"
		if f.least {
			ok, sign = median(v) >= f.bar, "≥"
		}
		bar, met = sign+" "+format(f.bar), "**missed**"
		if ok {
			met = "met"
		}
	}
	what := f.what
	if f.note != "" {
		what += " (" + f.note + ")"
	}
	fmt.Fprintf(p, "| %s | %s | %s | %s | %s | %s |\n", what, of(func(f figure) float64 { return f.ours }, f.format), beside, ratio, bar, met)
}

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

// versions are those of all that took part.
func (b *bencher) versions() []string {
	all := []string{first(b.culvert, "version"), runtime.Version()}
	if b.limit != "" {
		all = append(all, first("cc", "--version"))
	}
	if b.nginx != "" {
		all = append(all, first(b.nginx, "-v"))
		if v := first("dpkg-query", "-W", "-f", "Nchan ${Version}", "libnginx-mod-nchan"); strings.HasPrefix(v, "Nchan") {
			all = append(all, v)
		}
	}
	if v := first("redis-server", "--version"); v != "" {
		if fields := strings.Fields(v); len(fields) > 2 {
			all = append(all, "Redis "+strings.TrimPrefix(fields[2], "v="))
		}
	}
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

// first is the first line that a program writes.
func first(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
