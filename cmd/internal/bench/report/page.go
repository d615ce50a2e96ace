package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

// WritePage writes the result as one page that needs nothing from elsewhere.
func (r *Result) WritePage(w io.Writer) error {
	t, err := template.New("page").Parse(pageText)
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
	if r.Memory != nil {
		g.row("memory per idle connection", "%s", Bytes(int64(r.Memory.IdleEach)))
	}
	return g.Rows
}

// chart is one picture of the page.
type chart struct {
	Title  string
	Legend []string
	SVG    template.HTML
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
	if r.Traffic.Delivered > 0 {
		all = append(all, chart{Title: "Deliveries a second", SVG: timeline(r.Samples, Number, series(func(s Sample) float64 { return s.PerSecond }))})
	}
	percent := func(v float64) string { return Number(100*v) + " %" }
	client := series(func(s Sample) float64 { return s.ClientBusy })
	if r.Samples[len(r.Samples)-1].ServerKnown {
		server := series(func(s Sample) float64 { return s.ServerBusy })
		all = append(all,
			chart{Title: "Processor, in cores", Legend: []string{"server", "this client"}, SVG: timeline(r.Samples, percent, server, client)},
			chart{Title: "Server's resident memory", SVG: timeline(r.Samples, func(v float64) string { return Number(v) + " MB" },
				series(func(s Sample) float64 { return float64(s.RSS) / (1 << 20) }))})
	}
	return all
}
