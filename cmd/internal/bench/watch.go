package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

// watch samples the server and shows how far the run is.
type watch struct {
	run   *run
	pid   int // of the server, 0 where it is not known
	out   io.Writer
	live  bool // out is a terminal, and has one line for all progress
	phase string

	sampled, shown time.Duration
	server, client time.Duration // CPU at the last sample
	delivered      int64
	samples        []report.Sample
	every          time.Duration
	shownPhase     string
}

// Samples are taken as often as sampleEvery, and less often in a long run: no
// more than maxSamples are kept.
const (
	sampleEvery = 250 * time.Millisecond
	maxSamples  = 1000
	showEvery   = 500 * time.Millisecond
)

func newWatch(r *run, pid int, out io.Writer) *watch {
	w := &watch{run: r, pid: pid, out: out, every: sampleEvery}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		w.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	w.client, _ = usage.Self()
	if pid != 0 {
		w.server, _ = usage.CPU(pid)
	}
	return w
}

func (w *watch) tick(now time.Duration) {
	if now-w.sampled >= w.every {
		w.sample(now)
	}
	if w.out == nil {
		return
	}
	if w.live && now-w.shown >= showEvery {
		w.shown = now
		fmt.Fprintf(w.out, "\r\x1b[K%s", w.line())
	} else if !w.live && w.phase != w.shownPhase {
		w.shownPhase = w.phase
		fmt.Fprintf(w.out, "%6.1f s  %s\n", now.Seconds(), w.phase)
	}
}

// end clears the line.
func (w *watch) end() {
	if w.live && w.out != nil {
		fmt.Fprint(w.out, "\r\x1b[K")
	}
}

func (w *watch) sample(now time.Duration) {
	r := w.run
	past := (now - w.sampled).Seconds()
	s := report.Sample{
		At: now.Seconds(), Phase: w.phase, Connected: r.ready,
		PerSecond: float64(r.delivered-w.delivered) / past,
	}
	if d, err := usage.Self(); err == nil {
		s.ClientBusy = (d - w.client).Seconds() / past
		w.client = d
	}
	if w.pid != 0 {
		if c, err := usage.Of(w.pid); err == nil {
			s.ServerBusy, s.RSS, s.ServerKnown = (c.CPU-w.server).Seconds()/past, c.RSS, true
			w.server = c.CPU
		}
	}
	w.delivered, w.sampled = r.delivered, now
	if w.samples = append(w.samples, s); len(w.samples) == maxSamples {
		half := w.samples[:0]
		for i := 1; i < len(w.samples); i += 2 {
			half = append(half, w.samples[i])
		}
		w.samples = half
		w.every *= 2
	}
}

// line is the progress line.
func (w *watch) line() string {
	r := w.run
	text := fmt.Sprintf("%s  %d/%d connected", w.phase, r.ready, len(r.subs))
	if len(w.samples) == 0 {
		return text
	}
	last := w.samples[len(w.samples)-1]
	if last.PerSecond > 0 {
		text += fmt.Sprintf("  %s deliveries/s", report.Number(float64(int64(last.PerSecond))))
	}
	if r.latency.Count() > 0 {
		text += fmt.Sprintf("  p99 %s", report.Millis(float64(r.latency.Quantile(0.99))/1e6))
	}
	if last.ServerKnown {
		text += fmt.Sprintf("  server %.0f %% %s", 100*last.ServerBusy, report.Bytes(last.RSS))
	}
	text += fmt.Sprintf("  client %.0f %%", 100*last.ClientBusy)
	if n := r.checks.Faults(); n > 0 {
		text += fmt.Sprintf("  %d FAULTS", n)
	}
	return text
}
