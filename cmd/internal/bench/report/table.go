package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// rows is the result as pairs of words, in groups: for the table and the page.
func (r *Result) rows() (groups []group) {
	add := func(name string) *group {
		groups = append(groups, group{Name: name})
		return &groups[len(groups)-1]
	}
	g := add("Connections")
	g.row("connected", "%s in %s, %s/s", Number(float64(r.Connect.Connections)), seconds(r.Connect.Seconds), Number(r.Connect.PerSecond))
	if r.ReadyMS > 0 {
		g.row("server ready after", "%s", Millis(r.ReadyMS))
	}
	if m := r.Memory; m != nil {
		g.row("server memory", "%s before, %s connected, %s after traffic", Bytes(m.Before), Bytes(m.Idle), Bytes(m.After))
		g.row("per connection", "%s idle, %s after traffic", Bytes(int64(m.IdleEach)), Bytes(int64(m.AfterEach)))
		if m.KernelEach > 0 {
			g.row("kernel, both ends", "%s per connection", Bytes(int64(m.KernelEach)))
		}
	}
	g = add("Traffic")
	t := r.Traffic
	g.row("published", "%s in %s, %s/s", Number(float64(t.Published)), seconds(t.Seconds), Number(t.PublishesPerSecond))
	g.row("delivered", "%s, %s/s, %.1f in one read", Number(float64(t.Delivered)), Number(t.DeliveriesPerSecond), t.PerRead)
	g.latency("publish to receive", r.Latency)
	g.latency("publish to answer", r.Publish)
	g.latency("side rooms", r.Side)
	if c := r.CPU; c != nil {
		g = add("Processor")
		if t.Delivered > 0 {
			g.row("server, per delivery", "%s", Micros(c.PerDelivery))
		}
		if t.Published > 0 && t.Delivered <= 2*t.Published { // else it is the deliveries' cost
			g.row("server, per publish", "%s", Micros(c.PerPublish))
		}
		g.row("server, in all", "%s, %.0f %% of it in the kernel; %.0f %% of a core", seconds(c.ServerSeconds), 100*c.KernelPart, 100*c.ServerBusy)
		g.row("this client", "%.0f %% of a core", 100*c.ClientBusy)
	}
	if s := r.Storm; s != nil {
		g = add("Storm")
		g.row("came back", "%s with %s missed each, in %s", Number(float64(s.Clients)), Number(float64(s.Missed)), seconds(s.Seconds))
		if s.PerClient > 0 {
			g.row("server, per client", "%s", Micros(s.PerClient))
		}
		g.latency("side rooms meanwhile", s.Side)
	}
	if s := r.Stalled; s != nil {
		g = add("Stalled")
		g.row("not reading", "%s; each holds %s in the kernel, %s in the server", Number(float64(s.Count)), Bytes(int64(s.KernelEach)), Bytes(int64(s.UserEach)))
	}
	g = add("Checked")
	c := r.Checks
	g.row("messages", "%d lost, %d repeated, %d out of order, %d different", c.Lost, c.Repeated, c.Disordered, c.Different)
	g.row("publishes unanswered", "%d", c.Unanswered)
	g.row("subscribers missing", "%d", c.Missing)
	g.row("gaps told, reconnects", "%d, %d", c.Gaps, c.Reconnects)
	if r.Broken != "" {
		g.row("broke off", "%s", r.Broken)
	}
	for _, f := range r.Errors {
		g.row("error", "%s (%d times)", f.Text, f.Count)
	}
	return groups
}

type group struct {
	Name string
	Rows []row
}

type row struct{ Name, Value string }

func (g *group) row(name, format string, args ...any) {
	g.Rows = append(g.Rows, row{name, fmt.Sprintf(format, args...)})
}

func (g *group) latency(name string, l *Latency) {
	if l != nil {
		g.row(name, "p50 %s  p90 %s  p99 %s  max %s", Millis(l.P50), Millis(l.P90), Millis(l.P99), Millis(l.Max))
	}
}

// WriteTable writes the result for a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Setting)
	for _, g := range r.rows() {
		fmt.Fprintf(&b, "\n%s\n", g.Name)
		for _, row := range g.Rows {
			fmt.Fprintf(&b, "  %-24s%s\n", row.Name, row.Value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Number writes a number with its thousands apart; below 100 with one decimal
// unless it is whole.
func Number(v float64) string {
	if v < 100 && v != float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// Bytes writes a number of bytes.
func Bytes(n int64) string {
	switch abs := max(n, -n); {
	case abs < 1<<10:
		return fmt.Sprintf("%d B", n)
	case abs < 1<<20:
		return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
	case abs < 1<<30:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GB", float64(n)/(1<<30))
}

// Millis writes milliseconds.
func Millis(v float64) string { return duration(time.Duration(v * float64(time.Millisecond))) }

// Micros writes microseconds.
func Micros(v float64) string { return duration(time.Duration(v * float64(time.Microsecond))) }

func seconds(v float64) string { return duration(time.Duration(v * float64(time.Second))) }

// duration writes three significant digits.
func duration(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return digits(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return digits(float64(d)/float64(time.Millisecond)) + " ms"
	}
	return digits(d.Seconds()) + " s"
}

func digits(v float64) string {
	switch {
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
