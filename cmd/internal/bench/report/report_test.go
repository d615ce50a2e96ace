package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
)

func TestHistogramKnowsQuantiles(t *testing.T) {
	var h report.Histogram
	random := rand.New(rand.NewPCG(1, 2))
	var all []time.Duration
	for range 100_000 {
		d := time.Duration(random.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, d)
		h.Record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999} {
		want, got := all[int(q*float64(len(all)))], h.Quantile(q)
		if diff := float64(got-want) / float64(want); diff < -0.005 || diff > 0.005 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	s := h.Summary()
	if s.Count != 100_000 || s.Max != float64(all[len(all)-1])/1e6 {
		t.Errorf("%+v", s)
	}
	var n uint64
	for _, b := range s.Distribution {
		n += b.Count
	}
	if n != s.Count || s.Distribution[0].Count == 0 || s.Distribution[len(s.Distribution)-1].Count == 0 {
		t.Errorf("the distribution has %d of %d", n, s.Count)
	}
}

func TestHistogramAtItsEdges(t *testing.T) {
	var h report.Histogram
	if h.Summary() != nil || h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a summary")
	}
	for _, d := range []time.Duration{-1, 0, 1, 255, 256, 257, 1<<63 - 1} {
		h.Record(d)
	}
	if h.Quantile(0) != 0 || h.Quantile(1) != 1<<63-1 {
		t.Error(h.Quantile(0), h.Quantile(1))
	}
}

func sample() *report.Result {
	var h report.Histogram
	for i := range 1000 {
		h.Record(time.Duration(i+1) * 50 * time.Microsecond)
	}
	r := &report.Result{
		Setting: "100 subscribers <by> ws", Version: "0.1.0", Time: time.Unix(1700000000, 0).UTC(),
		Connect: report.Connect{Connections: 100, Seconds: 0.01, PerSecond: 10000},
		Memory:  &report.Memory{Before: 14 << 20, Idle: 15 << 20, After: 16 << 20, IdleEach: 3000, AfterEach: 4000, KernelEach: 5000},
		Traffic: report.Traffic{Seconds: 2, Published: 20, Delivered: 2000, PublishesPerSecond: 10, DeliveriesPerSecond: 1000},
		CPU:     &report.CPU{ServerSeconds: 0.02, PerDelivery: 10, PerPublish: 1000, KernelPart: 0.9, ServerBusy: 0.01, ClientBusy: 0.02},
		Latency: h.Summary(), Publish: h.Summary(), Side: h.Summary(),
		Storm:   &report.Storm{Clients: 100, Missed: 10, Seconds: 0.1, PerClient: 200, Side: h.Summary()},
		Stalled: &report.Stalled{Count: 1, KernelEach: 600_000, UserEach: 1000},
		Checks:  report.Checks{Churned: 12},
		Errors:  []report.Fault{{Text: "ws: <ended>", Count: 3}},
	}
	for i := range 20 {
		r.Samples = append(r.Samples, report.Sample{
			At: float64(i) / 4, Phase: "measuring", ServerBusy: 0.3, ClientBusy: 0.5, RSS: 15 << 20, Connected: 100, PerSecond: float64(i * 100), ServerKnown: true,
		})
	}
	return r
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"100 in 10.0 ms, 10,000/s", "2.9 KB idle", "p50 25.", "server, per delivery    10.0 µs", "0 lost, 0 repeated", "ws: <ended> (3 times)", "kernel, for each        585.9 KB\n", "server, for each        too little to tell\n",
		"left and came back      12 times\n",
		"20.0 ms; 1 % of a core", "this client             2 % of a core",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

// What a run was too small or too short to tell is not told as if it were
// known, and what was not done has no figures.
func TestTooLittleToTell(t *testing.T) {
	tiny := sample()
	tiny.Memory = &report.Memory{Before: 26 << 20, Idle: 26<<20 - 300<<10, After: 26<<20 + 200<<10, IdleEach: -3072, AfterEach: 2048}
	tiny.CPU = &report.CPU{ServerSeconds: 0.0018, ServerBusy: 0.0018, ClientBusy: 0.0099}
	tiny.Stalled = &report.Stalled{Count: 4, KernelEach: 0, UserEach: -20}
	tiny.Errors[0].Count = 1
	broken := &report.Result{Load: report.Load{Subscribers: 5}, Broken: "no luck", Samples: []report.Sample{
		{At: 0.25, Phase: "connecting", RSS: 1 << 20, ServerKnown: true}, {At: 0.5, Phase: "connecting", RSS: 1 << 20, ServerKnown: true},
	}}
	alone := &report.Result{Machine: report.Machine{Cores: 1}, Traffic: report.Traffic{Seconds: 1, Published: 5, PublishesPerSecond: 5}}
	much := sample()
	much.CPU.ServerSeconds = 0.2
	for _, tt := range []struct {
		r    *report.Result
		want []string
		not  []string
	}{
		{tiny, []string{
			"  per connection          too little to tell\n", "  server, in all          1.80 ms; under 1 % of a core\n", "  this client             under 1 % of a core\n",
			"  kernel, for each        too little to tell\n", "  server, for each        too little to tell\n", "ws: <ended> (once)\n",
		}, []string{"-3.0 KB", "in the kernel", " 0 %", "memory per idle connection"}},
		{broken, []string{"  connected               0 in ", "resident memory"}, []string{"Traffic", "published", "shaded"}},
		{alone, []string{"  connected               nobody\n", "  delivered               nothing\n", ", 1 core, "}, []string{"in one read"}},
		{much, []string{"The shaded part is what was measured.", "200 ms, 90 % of it in the kernel; 1 % of a core"}, nil},
	} {
		var b strings.Builder
		if err := errors.Join(tt.r.WriteTable(&b), tt.r.WritePage(&b)); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %q in\n%.2000s", want, b.String())
			}
		}
		for _, not := range tt.not {
			if strings.Contains(b.String(), not) {
				t.Errorf("%q in\n%.2000s", not, b.String())
			}
		}
	}
}

// The page is well-formed, escapes what it shows, and asks for nothing from
// elsewhere.
func TestPage(t *testing.T) {
	bad := sample()
	bad.Checks.Lost, bad.Checks.Unanswered = 3, 2
	for _, r := range []*report.Result{sample(), bad, {}} {
		var b bytes.Buffer
		if err := r.WritePage(&b); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		for _, outside := range []string{"http:", "https:", "url(", "src=", "href=", "@import", "<by>", "<ended>", "NaN", "Inf"} {
			if strings.Contains(page, outside) {
				t.Errorf("the page contains %q", outside)
			}
		}
		if strings.Contains(page, "3 messages did not arrive once and in order; 2 publishes failed") != (r.Checks.Lost == 3) {
			t.Error("the page does not say what was checked")
		}
		// No line is broken between a number and its unit.
		if r.Latency != nil && !strings.Contains(page, "p50\u00a0"+strings.ReplaceAll(report.Millis(r.Latency.P50), " ", "\u00a0")+" · p90\u00a0") {
			t.Error("the page does not keep numbers whole")
		}
		// Pictures are XML.
		for rest := page; ; {
			_, after, found := strings.Cut(rest, "<svg")
			if !found {
				break
			}
			picture, after, _ := strings.Cut(after, "</svg>")
			d := xml.NewDecoder(strings.NewReader("<svg" + picture + "</svg>"))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in %.200s", err, picture)
				}
			}
			rest = after
		}
	}
}

// No label begins left of its picture or ends right of it, where it would be cut
// off.
func TestLabelsFit(t *testing.T) {
	r := sample()
	r.Samples[3].PerSecond, r.Samples[4].RSS = 1_400_000, 40<<30
	var h report.Histogram
	for i := range 10 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	r.Latency = h.Summary() // its end is at a label
	var b bytes.Buffer
	if err := r.WritePage(&b); err != nil {
		t.Fatal(err)
	}
	labels := regexp.MustCompile(`<text text-anchor="end" x="([0-9.]+)" y="[0-9.]+">([^<]*)</text>`).FindAllStringSubmatch(b.String(), -1)
	found := map[string]bool{}
	for _, l := range labels {
		x, err := strconv.ParseFloat(l[1], 64)
		if narrowest := 6.36 * float64(len(strings.ReplaceAll(l[2], ",", ""))); err != nil || x < narrowest {
			t.Errorf("%q ends at %s", l[2], l[1])
		}
		found[l[2]] = true
	}
	times := regexp.MustCompile(`<text text-anchor="middle" x="([0-9.]+)" y="[0-9.]+">([^<]*)</text>`).FindAllStringSubmatch(b.String(), -1)
	for _, l := range times {
		x, err := strconv.ParseFloat(l[1], 64)
		if half := 5.5 * float64(len(l[2])) / 2; err != nil || x+half > 360 {
			t.Errorf("%q around %s", l[2], l[1])
		}
	}
	if len(times) == 0 || !found["2,000,000"] || !found["50,000 MB"] {
		t.Errorf("labels %v", found)
	}
}

func TestVerdict(t *testing.T) {
	published := report.Traffic{Published: 1}
	for _, tt := range []struct {
		r    report.Result
		want string
		bad  bool
	}{
		{report.Result{Traffic: published}, "Every message arrived once and in order", false},
		{report.Result{Storm: &report.Storm{}}, "Every message arrived once and in order", false},
		{report.Result{}, "Everybody was connected; no messages were published", false},
		{report.Result{Broken: "no luck", Traffic: published}, "The run broke off: no luck", true},
		{report.Result{Broken: "no luck", Checks: report.Checks{Missing: 2}}, "The run broke off: no luck; 2 subscribers could not connect, or stay connected", true},
		{report.Result{Checks: report.Checks{Lost: 1, Unanswered: 1, Missing: 1}}, "1 message did not arrive once and in order; 1 publish failed; 1 subscriber could not connect, or stay connected", true},
		{report.Result{Checks: report.Checks{Disordered: 2}}, "2 messages did not arrive once and in order", true},
	} {
		if got := tt.r.Verdict(); got != tt.want || tt.r.Bad() != tt.bad {
			t.Errorf("%q, %v, want %q", got, tt.r.Bad(), tt.want)
		}
	}
}

func TestResultAsJSON(t *testing.T) {
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var back report.Result
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&back)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("%s\n%s, %v", text, again, err)
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		report.Number(0): "0", report.Number(1.25): "1.2", report.Number(999): "999", report.Number(1000): "1,000", report.Number(1234567.8): "1,234,568",
		report.Bytes(10): "10 B", report.Bytes(4096): "4.0 KB", report.Bytes(-4096): "-4.0 KB", report.Bytes(3 << 30): "3.00 GB",
		report.Millis(0.0005): "500 ns", report.Millis(1.5): "1.50 ms", report.Millis(1500): "1.50 s", report.Micros(12.34): "12.3 µs",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
