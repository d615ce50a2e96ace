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
	if r.Connect.Connections > 0 || r.Load.Subscribers > 0 {
		g.row("connected", "%s in %s, %s/s", Number(float64(r.Connect.Connections)), seconds(r.Connect.Seconds), Number(r.Connect.PerSecond))
	} else {
		g.row("connected", "nobody")
	}
	if r.ReadyMS > 0 {
		g.row("server ready after", "%s", Millis(r.ReadyMS))
	}
	if m := r.Memory; m != nil {
		memory := fmt.Sprintf("%s before, %s connected", Bytes(m.Before), Bytes(m.Idle))
		each := each(m.Idle-m.Before, breath, m.IdleEach)
		if each != tooLittle {
			each += " idle"
		}
		if r.Traffic.Seconds > 0 {
			memory += fmt.Sprintf(", %s after traffic", Bytes(m.After))
			if each != tooLittle && m.After-m.Before >= breath {
				each += fmt.Sprintf(", %s after traffic", Bytes(int64(m.AfterEach)))
			}
		}
		g.row("server memory", "%s", memory)
		g.row("per connection", "%s", each)
		if m.KernelEach > 0 {
			g.row("kernel, both ends", "%s per connection", Bytes(int64(m.KernelEach)))
		}
	}
	t := r.Traffic
	if t.Seconds > 0 { // else the run was not to publish, or did not come to it
		g = add("Traffic")
		g.row("published", "%s in %s, %s/s", Number(float64(t.Published)), seconds(t.Seconds), Number(t.PublishesPerSecond))
		if t.Delivered > 0 {
			g.row("delivered", "%s, %s/s, %.1f in one read", Number(float64(t.Delivered)), Number(t.DeliveriesPerSecond), t.PerRead)
		} else {
			g.row("delivered", "nothing")
		}
	}
	g.latency("publish to receive", r.Latency)
	g.latency("publish to answer", r.Publish)
	if w := r.Waiting; w != nil && w.P99 >= noWait {
		g.latency("of it before sending", w) // it takes more --publishers, or a server that answers sooner
	}
	g.latency("side rooms", r.Side)
	if c := r.CPU; c != nil {
		g = add("Processor")
		if t.Delivered > 0 {
			g.row("server, per delivery", "%s", Micros(c.PerDelivery))
		}
		if t.Published > 0 && t.Delivered <= 2*t.Published { // else it is the deliveries' cost
			g.row("server, per publish", "%s", Micros(c.PerPublish))
		}
		kernel := ""
		if c.ServerSeconds >= fewTicks {
			kernel = fmt.Sprintf(", %.0f %% of it in the kernel", 100*c.KernelPart)
		}
		g.row("server, in all", "%s%s; %s", seconds(c.ServerSeconds), kernel, ofCore(c.ServerBusy))
		g.row("this client", "%s", ofCore(c.ClientBusy))
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
		g.row("not reading", "%s", Number(float64(s.Count)))
		g.row("kernel, for each", "%s", each(int64(s.KernelEach*float64(s.Count)), kernelBreath, s.KernelEach))
		g.row("server, for each", "%s", each(int64(s.UserEach*float64(s.Count)), breath, s.UserEach))
	}
	g = add("Checked")
	c := r.Checks
	g.row("messages", "%d lost, %d repeated, %d out of order, %d different", c.Lost, c.Repeated, c.Disordered, c.Different)
	g.row("publishes unanswered", "%d", c.Unanswered)
	g.row("subscribers missing", "%d", c.Missing)
	g.row("gaps told, reconnects", "%d, %d", c.Gaps, c.Reconnects)
	if c.Churned > 0 {
		g.row("left and came back", "%s", Times(c.Churned)) // as it was asked for
	}
	if r.Broken != "" {
		g.row("broke off", "%s", r.Broken)
	}
	for _, f := range r.Errors {
		g.row("error", "%s (%s)", f.Text, Times(f.Count))
	}
	return groups
}

// noWait is a time, in milliseconds, that is no waiting.
const noWait = 1

// fewTicks is the processor time below which the kernel's part of it, which is
// counted in ticks of 10 ms, is chance.
const fewTicks = 0.2

// breath is how much a process grows and shrinks by itself, and kernelBreath
// what other connections take and give in the kernel: what some take cannot be
// told from less.
const (
	breath       = 1 << 20
	kernelBreath = 64 << 10
)

// tooLittle stands for a figure that would be chance.
const tooLittle = "too little to tell"

// each is a part of what was taken in all.
func each(taken, least int64, part float64) string {
	if taken < least {
		return tooLittle
	}
	return Bytes(int64(part))
}

func ofCore(busy float64) string {
	if busy < 0.01 {
		return "under 1 % of a core"
	}
	return fmt.Sprintf("%.0f %% of a core", 100*busy)
}

// Times is how often something happened.
func Times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
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
