package report

import (
	_ "embed"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strings"
)

//go:embed page.html
var pageText string

// WritePage writes the result as one page that needs nothing from elsewhere.
func (r *Result) WritePage(w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{"whole": whole, "cores": func(n int) string { return count(int64(n), "core", "cores") }}).Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		*Result
		Key    []row
		Charts []chart
		Groups []group
	}{r, r.key(), r.charts(), r.rows()})
}

// units are what stands behind a number, and the number behind its name.
var units = regexp.MustCompile(`(\d|p\d+|max) (ms|s|µs|ns|[KMG]?B|%|\d[\d.,]*)(\W|$)`)

// whole keeps a line from being broken between a number and its unit, and parts
// what spaces part in a table of text.
func whole(text string) string {
	text = strings.ReplaceAll(text, "  ", " · ")
	for range 2 { // the end of one is the beginning of the next
		text = units.ReplaceAllString(text, "$1\u00a0$2$3")
	}
	return text
}

// Verdict is the outcome in one line.
func (r *Result) Verdict() string {
	c := r.Checks
	var bad []string
	if r.Broken != "" {
		bad = append(bad, "The run broke off: "+r.Broken)
	}
	if n := c.Lost + c.Repeated + c.Disordered + c.Different; n > 0 {
		bad = append(bad, count(n, "message", "messages")+" did not arrive once and in order")
	}
	if c.Unanswered > 0 {
		bad = append(bad, count(c.Unanswered, "publish", "publishes")+" failed")
	}
	if c.Missing > 0 {
		bad = append(bad, count(c.Missing, "subscriber", "subscribers")+" could not connect, or stay connected")
	}
	switch {
	case len(bad) > 0:
		return strings.Join(bad, "; ")
	case r.Traffic.Published == 0 && r.Storm == nil:
		return "Everybody was connected; no messages were published"
	}
	return "Every message arrived once and in order"
}

func count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(float64(n)) + " " + many
}

// Bad tells whether the verdict is bad.
func (r *Result) Bad() bool { return r.Broken != "" || r.Checks.Faults() > 0 }

// key is what one looks for first.
func (r *Result) key() []row {
	var g group
	if r.Traffic.Delivered > 0 {
		g.row("deliveries a second", "%s", Number(float64(int64(r.Traffic.DeliveriesPerSecond))))
	} else {
		g.row("connections", "%s", Number(float64(r.Connect.Connections)))
	}
	if r.Latency != nil {
		g.row("publish to receive, median", "%s", Millis(r.Latency.P50))
		g.row("publish to receive, p99", "%s", Millis(r.Latency.P99))
	}
	if r.CPU != nil && r.Traffic.Delivered > 0 {
		g.row("server CPU per delivery", "%s", Micros(r.CPU.PerDelivery))
	}
	if m := r.Memory; m != nil && m.Idle-m.Before >= breath {
		g.row("memory per idle connection", "%s", Bytes(int64(r.Memory.IdleEach)))
	}
	return g.Rows
}

// chart is one picture of the page.
type chart struct {
	Title  string
	Legend []string
	SVG    template.HTML
	Shaded bool // in part: what was measured
}

func (r *Result) charts() []chart {
	var all []chart
	if r.Latency != nil {
		all = append(all, chart{Title: "Publish to receive", SVG: r.Latency.svg()})
	}
	if len(r.Samples) < 2 {
		return all
	}
	series := func(f func(Sample) float64) (v []float64) {
		for _, s := range r.Samples {
			v = append(v, f(s))
		}
		return v
	}
	shaded := slices.ContainsFunc(r.Samples, func(s Sample) bool { return s.Phase == "measuring" })
	if r.Traffic.Delivered > 0 {
		all = append(all, chart{Title: "Deliveries a second", Shaded: shaded, SVG: timeline(r.Samples, Number, series(func(s Sample) float64 { return s.PerSecond }))})
	}
	percent := func(v float64) string { return Number(100*v) + " %" }
	client := series(func(s Sample) float64 { return s.ClientBusy })
	if r.Samples[len(r.Samples)-1].ServerKnown {
		server := series(func(s Sample) float64 { return s.ServerBusy })
		all = append(all,
			chart{Title: "Processor, in cores", Legend: []string{"server", "this client"}, Shaded: shaded, SVG: timeline(r.Samples, percent, server, client)},
			chart{Title: "Server's resident memory", Shaded: shaded, SVG: timeline(r.Samples, func(v float64) string { return Number(v) + " MB" },
				series(func(s Sample) float64 { return float64(s.RSS) / (1 << 20) }))})
	}
	return all
}
