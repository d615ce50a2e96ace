package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/hub/needtest"
)

func TestParseGoBench(t *testing.T) {
	got, err := parseGoBench("goos: linux\nBenchmarkX/key=true-8   100   12.5 ns/op   3 B/op\nBenchmarkY 1 2 ns/op\nPASS\n")
	if err != nil || len(got) != 3 || got["BenchmarkX/key=true ns/op"] != 12.5 || got["BenchmarkX/key=true B/op"] != 3 || got["BenchmarkY ns/op"] != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// A figure that a benchmark does not have meets no bar.
func TestMissingFigure(t *testing.T) {
	figures := map[string]float64{"a": 1, "b": 0}
	for _, tt := range []struct {
		names string
		ok    bool
	}{{"a", true}, {"b", false}, {"a c", false}} {
		if err := known(figures, strings.Fields(tt.names)...); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.names, err)
		}
	}
}

// Every load has as many turns as the others, among them, and one bad turn does
// not count.
func TestInTurns(t *testing.T) {
	var order string
	costs := map[string][]float64{"a": {1, 90, 2}, "b": {5, 4, 3}}
	var loads []load
	for _, name := range []string{"a", "b"} {
		loads = append(loads, load{name, func() (*report.Result, error) {
			order += name
			cost := costs[name][0]
			costs[name] = costs[name][1:]
			return &report.Result{CPU: &report.CPU{PerDelivery: cost, PerPublish: 2 * cost}, Latency: &report.Latency{P99: 10 * cost}}, nil
		}})
	}
	of, err := inTurns(loads)
	if err != nil || order != "ababab" || of["a"] != (took{2, 4, 20}) || of["b"] != (took{4, 8, 40}) {
		t.Errorf("%v, %v in the order %s", of, err, order)
	}
	loads[1].run = func() (*report.Result, error) { return nil, errLeftOut }
	if _, err := inTurns(loads[1:]); !errors.Is(err, errLeftOut) {
		t.Error(err)
	}
}

// A row's page has the median and the ends of every figure, and tells which
// bars are met.
func TestPage(t *testing.T) {
	values := []float64{30, 10, 20}
	r := row{name: "x", about: "some row", means: "What it means.", run: func(context.Context, *bencher) ([]figure, error) {
		v := values[0]
		values = append(values[1:], v)
		return []figure{
			{what: "beside", format: micros, ours: v, beside: 10, name: "C", bar: 2.1, stretch: 2, short: "short of beside"},
			{what: "alone", format: millis, ours: v, bar: 15},
			{what: "at least", format: perSecond, ours: v, bar: 15, stretch: 21, least: true, note: "why"},
			{what: "for information", format: times, ours: v},
			{what: "whenever", format: millis, ours: v, bar: 25, always: true},
		}, nil
	}}
	out := row{name: "y", about: "another", run: func(context.Context, *bencher) ([]figure, error) {
		return nil, errors.Join(errLeftOut, errors.New("no such program"))
	}}
	broken := row{name: "z", about: "a third", run: func(context.Context, *bencher) ([]figure, error) {
		return nil, errors.New("not everything arrived\nmore of it")
	}}
	b := &bencher{scale: 0.5, left: []string{"Nchan: not here"}}
	var results []result
	for _, r := range []row{r, out, broken} {
		results = append(results, b.measure(t.Context(), r, 3))
	}
	page := b.page(results, 3)
	for _, want := range []string{
		"2 of 4 bars are met, and 1 of 2 stretch goals. 1 rows failed. Missed:\n\n- x: alone\n- x: whenever\n",
		"## Some row\n\nWhat it means.\n\n|",
		"| beside | 20.0 µs (10.0 µs - 30.0 µs) | C: 10.0 µs (10.0 µs - 10.0 µs) | 2.00 (1.00 - 3.00) | ≤ 2.10 | met | ≤ 2.00 | reached |",
		"| alone | 20.0 ms (10.0 ms - 30.0 ms) |  |  | ≤ 15.0 ms | **missed** |  |  |",
		"| whenever | 20.0 ms (10.0 ms - 30.0 ms) |  |  | ≤ 25.0 ms | **missed** |  |  |",
		"| at least | 20/s (10/s - 30/s) |  |  | ≥ 15/s | met | ≥ 21/s | not yet |", "\nat least: why.\n",
		"| for information | 20.00 (10.00 - 30.00) |  |  |  |  |  |  |", "no such program", "multiplied by 0.5", "left out: Nchan: not here",
		"**Failed:** z, run 1: not everything arrived\n",
		shortBegins + "\n| what | Culvert | beside it |\n|---|---|---|\n| short of beside | 20.0 µs | 10.0 µs, C |\n" + shortEnds,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(page, "more of it") {
		t.Error("what a program wrote is on the page")
	}
}

func TestQuote(t *testing.T) {
	const page = "a\n" + shortBegins + "\n| new |\n" + shortEnds + "\nb\n"
	name := filepath.Join(t.TempDir(), "README.md")
	write := func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + shortBegins + "\n| old |\n" + shortEnds + "\nbehind\n")
	if err := quote(name, page); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(name); string(text) != "before\n"+shortBegins+"\n| new |\n"+shortEnds+"\nbehind\n" {
		t.Errorf("%s", text)
	}
	for _, text := range []string{"", shortBegins, shortEnds + shortBegins} {
		write(text)
		if err := quote(name, page); !errors.Is(err, errNoTable) {
			t.Errorf("%q: %v", text, err)
		}
		if got, _ := os.ReadFile(name); string(got) != text {
			t.Errorf("%q has become %q", text, got)
		}
	}
	if _, err := quoted(page, "a page without one"); !errors.Is(err, errNoTable) {
		t.Error(err)
	}
}

// The README says what the page says, and nothing where there is no page; and
// it links it.
func TestREADMEQuotesTheResults(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("RESULTS.md")
	if errors.Is(err, os.ErrNotExist) {
		page = []byte(shortBegins + "\n" + shortEnds) // never measured: nothing to quote
	} else if err != nil {
		t.Fatal(err)
	}
	want, err := quoted(string(readme), string(page))
	if err != nil {
		t.Fatal(err)
	}
	if want != string(readme) {
		t.Error("README.md has other figures than RESULTS.md: make bench writes both")
	}
	if !strings.Contains(string(readme), "](cmd/bench-limits/RESULTS.md)") {
		t.Error("README.md does not link RESULTS.md")
	}
}

func TestCommitted(t *testing.T) {
	needtest.Program(t, "git")
	folder := t.TempDir()
	if got := committed(folder); got != "" {
		t.Errorf("no repository: %q", got)
	}
	git := func(args ...string) {
		t.Helper()
		args = append([]string{"-C", folder, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"}, args...)
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "--quiet")
	git("commit", "--quiet", "--allow-empty", "-m", "first")
	commit := committed(folder)
	if !regexp.MustCompile(`^[0-9a-f]{12}$`).MatchString(commit) {
		t.Errorf("a repository: %q", commit)
	}
	if err := os.WriteFile(filepath.Join(folder, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := committed(folder); got != commit+", changed since" {
		t.Errorf("a changed repository: %q", got)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{"-rows nonsense", "-runs 0", "-scale 0", "-scale 11", "surplus", "-nonsense"} {
		if err := run(t.Context(), strings.Fields(args)); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
}

// The C loop speaks as much of the protocol as the bench checks.
func TestLimitDeliversEverything(t *testing.T) {
	needtest.Program(t, "cc")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b := &bencher{folder: t.TempDir(), scale: 1}
	if err := b.build(ctx); err != nil {
		t.Fatal(err)
	}
	if v := b.versions()[0]; !strings.HasPrefix(v, "culvert ") || b.commit != "" && strings.Contains(v, unknownCommit) {
		t.Errorf("the commit is %q, the version %q", b.commit, v)
	}
	for _, k := range []int{1, 8} {
		for _, transport := range []string{"ws", "sse", "ndjson"} {
			r, err := b.benchLimit(ctx, k, "--subscribers 30 --transport %s --outstanding 8 --messages 100 --warm-up 0 --settle 0", transport)
			if err != nil {
				t.Fatal(err)
			}
			if r.Checks.Faults() != 0 || r.Traffic.Delivered != 3000 {
				t.Errorf("k=%d, %s: %+v, %+v", k, transport, r.Traffic, r.Checks)
			}
		}
	}
	r, err := b.bench(ctx, "--subscribers 30 --transport mixed --outstanding 8 --messages 100 --warm-up 0 --settle 0 --profile %s --heap-profile %s",
		filepath.Join(b.folder, "cpu"), filepath.Join(b.folder, "heap"))
	if err != nil || r.Traffic.Delivered != 3000 || r.ReadyMS == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if b.nginx == "" {
		needtest.Missing(t, "%s", b.left)
	}
	for _, transport := range []string{"ws", "sse", "poll"} {
		r, err := b.benchNchan(ctx, "--subscribers 30 --transport %s --outstanding 8 --messages 100 --warm-up 0", transport)
		if err != nil || r.Traffic.Delivered != 3000 {
			t.Errorf("Nchan, %s: %+v, %v", transport, r, err)
		}
	}
}
