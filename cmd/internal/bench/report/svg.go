package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
)

// A picture's measures: as wide as a small telephone, and enlarged elsewhere.
const (
	wide, high  = 360.0, 190.0
	left, right = 46.0, 352.0
	top, bottom = 14.0, 166.0
)

// half is half of a time's label, which stands below its middle.
const half = 24

// digitWide is how wide a digit of a label is at most, whatever font is there.
const digitWide = 6.5

type picture struct{ strings.Builder }

func (p *picture) begin(label string) {
	fmt.Fprintf(p, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, wide, high, html.EscapeString(label))
}

func (p *picture) end() template.HTML {
	p.WriteString("</svg>")
	return template.HTML(p.String())
}

func (p *picture) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(p, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

func (p *picture) text(anchor string, x, y float64, text string) {
	fmt.Fprintf(p, `<text text-anchor="%s" x="%.1f" y="%.1f">%s</text>`, anchor, x, y, html.EscapeString(text))
}

// svg draws the distribution over a logarithmic axis of time.
func (l *Latency) svg() template.HTML {
	var p picture
	p.begin(fmt.Sprintf("Distribution of latencies: half are below %s, 99 %% below %s", Millis(l.P50), Millis(l.P99)))
	bars := l.Distribution
	from := bars[0].UpTo / 1.25
	to := bars[len(bars)-1].UpTo
	x := func(v float64) float64 {
		return left + (right-left)*math.Log(max(v, from)/from)/math.Log(to/from)
	}
	most := slices.MaxFunc(bars, func(a, b Bar) int { return int(int64(a.Count) - int64(b.Count)) }).Count
	before := from
	for _, b := range bars {
		h := (bottom - top - 14) * float64(b.Count) / float64(most)
		if b.Count > 0 {
			h = max(h, 1)
			fmt.Fprintf(&p, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s to %s: %s</title></rect>`,
				x(before), bottom-h, max(x(b.UpTo)-x(before)-0.6, 0.6), h, Millis(before), Millis(b.UpTo), Number(float64(b.Count)))
		}
		before = b.UpTo
	}
	p.line("axis", left, bottom, right, bottom)
	last := -100.0
	for decade := math.Pow(10, math.Floor(math.Log10(from))); decade <= to; decade *= 10 {
		for _, step := range []float64{1, 2, 5} {
			v := decade * step
			at := x(v)
			if label := min(at, wide-half); v >= from && v <= to && label-last > 44 {
				p.line("axis", at, bottom, at, bottom+4)
				p.text("middle", label, bottom+15, Millis(v))
				last = label
			}
		}
	}
	row := 0.0
	last = -100
	for _, m := range []struct {
		name string
		v    float64
	}{{"p50", l.P50}, {"p90", l.P90}, {"p99", l.P99}} {
		at := x(m.v)
		if row++; at-last > 24 {
			row = 0
		}
		last = at
		p.line("mark", at, top+9*row, at, bottom)
		p.text("end", at-3, top+9*row+4, m.name)
	}
	return p.end()
}

// timeline draws values over the time of the run, with the measurement's part
// shaded. The first series is filled down to zero.
func timeline(samples []Sample, unit func(float64) string, series ...[]float64) template.HTML {
	var p picture
	most := 0.0
	for _, s := range series {
		most = max(most, slices.Max(s))
	}
	most = ceiling(most)
	left := max(left, digitWide*float64(len(unit(most)))+6) // a long label has its place, too
	p.begin(fmt.Sprintf("Values over the time of the run, from 0 to %s", unit(most)))
	first, last := samples[0].At, samples[len(samples)-1].At
	x := func(at float64) float64 { return left + (right-left)*(at-first)/max(last-first, 1e-9) }
	y := func(v float64) float64 { return bottom - (bottom-top)*v/most }
	for i, s := range samples {
		if i > 0 && s.Phase == "measuring" {
			fmt.Fprintf(&p, `<rect class="band" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, x(samples[i-1].At), top, x(s.At)-x(samples[i-1].At), bottom-top)
		}
	}
	for _, part := range []float64{0, 0.5, 1} {
		p.line("axis", left, y(most*part), right, y(most*part))
		p.text("end", left-4, y(most*part)+3, unit(most*part))
	}
	for i, values := range series {
		var points strings.Builder
		for j, v := range values {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(samples[j].At), y(v))
		}
		if i == 0 {
			fmt.Fprintf(&p, `<polygon class="area" points="%.1f,%.1f %s%.1f,%.1f"/>`, x(first), bottom, points.String(), x(last), bottom)
		}
		fmt.Fprintf(&p, `<polyline class="%c" points="%s"/>`, 'a'+i, strings.TrimSpace(points.String()))
	}
	p.text("start", left, bottom+15, fmt.Sprintf("%.1f s", first))
	p.text("end", right, bottom+15, fmt.Sprintf("%.1f s", last))
	return p.end()
}

// ceiling is the next round number.
func ceiling(v float64) float64 {
	if v <= 0 {
		return 1
	}
	decade := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 2.5, 5} {
		if v <= step*decade {
			return step * decade
		}
	}
	return 10 * decade
}
