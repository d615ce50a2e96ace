//go:build linux

package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the client promises: the time to the first message beyond two round
// trips; the time in which it notices that a path fell silent, where nothing is
// said, and under traffic (beyond two round trips as well).
const (
	bar        = 500 * time.Millisecond
	idleBar    = 20 * time.Second
	trafficBar = 3 * time.Second
)

// attempts is how often a row may try to keep the times that are promised. The
// first attempt runs beside others, and a dozen of browsers, servers and proxies
// on two cores take each other's time; the later ones run one after the other
// when these have ended, and wait a while for a machine with time. What is late
// each time is late; on a machine that never had time it is only told. A transport
// that is not the one that the path allows is a matter of time as well, and tried
// again, but never only told. A message that is lost, repeated or out of order
// fails the first time.
const attempts = 3

// longestWait is what the attempts of a judge wait in all.
const longestWait = 90 * time.Second

// busy tells whether programs waited for the processor for most of the last
// seconds, as Linux accounts for it; where it does not, nothing is known.
func busy() bool {
	text, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return false
	}
	var percent float64
	_, _ = fmt.Sscanf(string(text), "some avg10=%f", &percent)
	return percent > 50
}

// judge holds rows to their times, without tolerance but with attempts.
type judge struct {
	mu   sync.Mutex
	late []*lateRow // guarded by mu

	waited time.Duration
}

type lateRow struct {
	name     string
	measure  func(*testing.T) []finding
	findings []finding // the late ones of the last attempt
	attempts int       // so far
}

// row measures a row for the first time.
func (j *judge) row(t *testing.T, name string, measure func(*testing.T) []finding) {
	t.Helper()
	r := &lateRow{name: name, measure: measure, attempts: 1}
	for _, f := range measure(t) {
		if len(f.Late) == 0 || inChild() { // the parent judges
			found(t, f)
			continue
		}
		t.Logf("late, to be measured again: %s: %s", f.Runtime, strings.Join(f.Late, "; "))
		r.findings = append(r.findings, f)
	}
	if len(r.findings) > 0 {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.late = append(j.late, r)
	}
}

// again measures the late rows once more. The others must have ended.
func (j *judge) again(t *testing.T) {
	j.mu.Lock()
	late := j.late
	j.mu.Unlock()
	for n := 2; n <= attempts && len(late) > 0; n++ {
		// A group of the same name, so that what -run picks is picked again.
		t.Run("rows", func(t *testing.T) {
			for _, r := range late {
				t.Run(r.name, func(t *testing.T) { r.again(t, n, !j.quiet()) })
			}
		})
		for _, r := range late {
			if r.attempts < n {
				t.Errorf("%s was late, and -run leaves the other attempts out", r.name)
			}
		}
		late = slices.DeleteFunc(slices.Clone(late), func(r *lateRow) bool { return len(r.findings) == 0 })
	}
}

// quiet waits for a machine with time, and tells whether there is one.
func (j *judge) quiet() bool {
	for ; busy(); j.waited += time.Second {
		if j.waited >= longestWait {
			return false
		}
		time.Sleep(time.Second) // nothing tells of it
	}
	return true
}

func (r *lateRow) again(t *testing.T, attempt int, busy bool) {
	r.attempts = attempt
	var still []finding
	for _, f := range r.measure(t) {
		if !slices.ContainsFunc(r.findings, func(g finding) bool { return g.Runtime == f.Runtime }) {
			continue // was in time before
		}
		switch {
		case len(f.Late) == 0:
			found(t, f)
		case attempt == attempts && busy && !f.Elsewhere:
			t.Logf("on a machine that has no time: %s: %s", f.Runtime, strings.Join(f.Late, "; "))
			found(t, f)
		case attempt == attempts:
			t.Errorf("%s: %s, in %d attempts", f.Runtime, strings.Join(f.Late, "; "), attempts)
			found(t, f)
		default:
			t.Logf("late again: %s: %s", f.Runtime, strings.Join(f.Late, "; "))
			still = append(still, f)
		}
	}
	r.findings = still
}
