// Package doctor finds out what the way to a Culvert server does to requests,
// WebSockets and streams, and says it in plain words. The page /doctor makes
// the same tests from a browser; both take their words from web/pages.
//
// Every test is an observation of its own. What is concluded from them is in
// findings, which name a misbehaviour and what Culvert does about it.
package doctor

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/culvertd/culvert/cmd/internal/client"
	"github.com/culvertd/culvert/web/pages"
)

// Options say what to test, and how long.
type Options struct {
	// URL is the server's address, such as https://example.org.
	URL string
	// Proxy is the proxy to go through, such as http://proxy.example:3128; https,
	// socks5 and socks5h are understood as well. Empty: as the environment says
	// (HTTP_PROXY and its like).
	Proxy string
	// Idle is how long a connection is left alone: 20 s.
	Idle time.Duration
	// Wait is the longest poll that is tried, and how long a stream is watched:
	// 55 s, the longest that the protocol allows. (The browser client never waits
	// longer than 20 s.)
	Wait time.Duration
	// Patience is how long an answer may take that should come at once: 5 s.
	Patience time.Duration
	// Progress hears of each test when it begins, without a State, and when it has
	// ended. It is called by one goroutine at a time.
	Progress func(Step)

	roots *x509.CertPool // who signs certificates, for tests; nil: whom the system knows
}

// Validate reports the first option that cannot be used.
func (o Options) Validate() error {
	if _, err := client.ParseURL(o.URL); err != nil {
		return fmt.Errorf("doctor: the address: %w", err)
	}
	if _, err := parseProxy(o.Proxy); err != nil {
		return err
	}
	if o.Idle < 0 || o.Wait < 0 || o.Wait > 55*time.Second || o.Patience < 0 {
		return errors.New("doctor: a time is negative, or the longest poll is above 55 s")
	}
	return nil
}

// State is how a test ended.
type State string

const (
	Good    State = "good"
	Note    State = "note" // not as it should be, and no harm to Culvert
	Bad     State = "bad"
	Skipped State = "skipped"
)

// Step is one test.
type Step struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	State  State  `json:"state"`
	Result string `json:"result"`
	Took   int64  `json:"ms"`
}

// Finding is what tests say about the network.
type Finding struct {
	Code string `json:"code"`
	// Level is "good", "note" (handled, and hardly felt), "slow" (handled, and
	// felt), "bad" (in the way of everything) or "unknown" (not tested).
	Level  string            `json:"level"`
	Values map[string]string `json:"values,omitempty"`
	// Network says what it does, Culvert what Culvert does about it.
	Network string `json:"network"`
	Culvert string `json:"culvert"`
}

// Report is everything that was found out.
type Report struct {
	URL   string `json:"url"`
	Proxy string `json:"proxy,omitempty"` // without its password
	// From is the address from which the server saw the requests come.
	From     string    `json:"from,omitempty"`
	Via      string    `json:"via,omitempty"` // what proxies said of themselves
	Time     time.Time `json:"time"`
	Steps    []Step    `json:"steps"`
	Findings []Finding `json:"findings"`
	// Works says whether Culvert gets through, Best over which transport:
	// "websocket", "sse" or "poll".
	Works   bool   `json:"works"`
	Best    string `json:"best,omitempty"`
	Verdict string `json:"verdict"`
}

// Has reports whether a finding of this code is among them.
func (r *Report) Has(code string) bool {
	for _, f := range r.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// doctor is one run. Tests that run at the same time hand their observations
// over when they have ended.
type doctor struct {
	o      Options
	base   string
	proxy  *url.URL
	http   *http.Client
	nonce  string
	asked  atomic.Int64 // requests with an address of their own
	report Report
	words  map[string]struct{ Level, Network, Culvert string }
	conclusions

	running sync.WaitGroup  // the tests that wait
	lasts   map[string]bool // what outlived the long tests

	since time.Time // a server that began after this is another one than before
	lives int       // how many others there were
	gone  string    // why the server cannot be reached any more
}

// conclusions are what tests have shown for those that follow.
type conclusions struct {
	failed     int // requests, for reasons of the network
	rtt        time.Duration
	canPost    bool
	crowded    bool          // few requests at a time get through
	websocket  bool          // proven, a large frame too
	flowing    string        // the form of stream that flows best, "" for none
	firstEvent time.Duration // how soon one came, at best
}

// errHopeless ends a run: there is no use in more tests.
var errHopeless = errors.New("doctor: plain requests do not get through")

// Run makes all tests; with the usual Options that takes about a minute. The
// error is about the options or ctx: a network on which nothing works is a
// report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	base, _ := client.ParseURL(o.URL)
	proxy, _ := parseProxy(o.Proxy)
	d := &doctor{o: o, base: base, proxy: proxy, nonce: strings.ToLower(rand.Text()[:12]), conclusions: conclusions{canPost: true}, lasts: map[string]bool{}, since: time.Now()}
	if err := json.Unmarshal(pages.Findings, &d.words); err != nil {
		return nil, fmt.Errorf("doctor: findings.json: %w", err)
	}
	d.http = d.newClient()
	defer d.http.CloseIdleConnections()
	d.report = Report{URL: base, Time: time.Now().UTC().Truncate(time.Second), Findings: []Finding{}}
	through, err := d.through() // also one that the environment names, which the user may not know of
	if err != nil {
		return nil, err
	}
	if through != nil {
		d.report.Proxy = through.Redacted()
	}
	err = d.examine(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	d.conclude(err == nil)
	return &d.report, nil
}

func (o Options) withDefaults() Options {
	if o.Idle == 0 {
		o.Idle = 20 * time.Second
	}
	if o.Wait == 0 {
		o.Wait = 55 * time.Second
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
	return o
}

// examine makes the tests, one after another. Those that only wait begin as
// soon as there is something to wait for, and go on beside the others.
func (d *doctor) examine(ctx context.Context) error {
	if err := d.plain(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer d.running.Wait()
	defer cancel()
	d.repeat(ctx)
	d.connections(ctx) // while nothing else takes any of them
	var w waits
	w.poll = d.beside(ctx, d.longPoll)
	d.sockets(ctx)
	if d.websocket {
		w.busy, w.idle = d.beside(ctx, d.busySocket), d.beside(ctx, d.idleSocket)
	}
	d.streams(ctx)
	if d.flowing != "" {
		w.flow = d.beside(ctx, d.busyStream)
	}
	d.filters(ctx)
	d.clock(ctx)
	d.waiting(ctx, w)
	return ctx.Err()
}

// step makes one test, which returns how it ended and a few words. One that the
// server's own restart fell into is made again.
func (d *doctor) step(ctx context.Context, id, title string, test func() (State, string)) State {
	if d.gone != "" {
		return d.tell(id, title, func() (State, string) { return Skipped, wentAway })
	}
	return d.tell(id, title, func() (State, string) { return d.judge(ctx, test) })
}

// tell makes one test, whatever becomes of the server.
func (d *doctor) tell(id, title string, test func() (State, string)) State {
	d.o.Progress(Step{ID: id, Title: title})
	began := time.Now()
	state, result := test()
	s := Step{ID: id, Title: title, State: state, Result: result, Took: time.Since(began).Milliseconds()}
	d.report.Steps = append(d.report.Steps, s)
	d.o.Progress(s)
	return state
}

// find adds a finding; values are pairs. A code is found once.
func (d *doctor) find(code string, values ...any) {
	words, ok := d.words[code]
	if !ok {
		panic("doctor: no words for " + code)
	}
	if d.report.Has(code) {
		return
	}
	f := Finding{Code: code, Level: words.Level, Network: words.Network, Culvert: words.Culvert}
	for i := 0; i < len(values); i += 2 {
		name, value := fmt.Sprint(values[i]), fmt.Sprint(values[i+1])
		if f.Values == nil {
			f.Values = map[string]string{}
		}
		f.Values[name] = value
		f.Network = strings.ReplaceAll(f.Network, "{"+name+"}", value)
		f.Culvert = strings.ReplaceAll(f.Culvert, "{"+name+"}", value)
	}
	d.report.Findings = append(d.report.Findings, f)
}

// conclude says what all of it means.
func (d *doctor) conclude(works bool) {
	r := &d.report
	if d.gone != "" {
		d.find("gone", "error", d.gone)
	}
	r.Works = works && d.gone == ""
	if !works {
		r.Verdict = "Culvert cannot be reached on this path."
		return
	}
	if d.gone != "" {
		r.Verdict = "Culvert went out of reach during the tests."
		return
	}
	if d.failed > 0 && !r.Has("answers_cut") && !r.Has("busy") {
		d.find("flaky", "failed", d.failed, "total", d.asked.Load())
	}
	if len(r.Findings) == 0 || len(r.Findings) == 1 && r.Has("restarted") {
		d.find("clear")
	}
	switch {
	case d.websocket && d.lasts["websocket"]:
		r.Best = "websocket"
		r.Verdict = "Culvert works here over a WebSocket."
	case d.websocket && !r.Has("ws_goes_silent"):
		r.Best = "websocket"
		r.Verdict = "Culvert works here over a WebSocket that is renewed in time."
	case d.flowing != "":
		r.Best = "sse"
		r.Verdict = "Culvert works here over a stream (" + d.flowing + ")."
	default:
		r.Best = "poll"
		r.Verdict = "Culvert works here by polling: each message comes as the answer to a request that waits for it."
	}
	switch {
	case !d.canPost && d.websocket:
		r.Verdict += " Publishing needs a WebSocket here."
	case !d.canPost:
		r.Verdict += " Nothing can be published: neither POST nor a WebSocket gets through."
	}
}

// room is the name of a room that nobody else uses.
func (d *doctor) room(purpose string) string { return "doctor-" + purpose + "-" + d.nonce }

func seconds(t time.Duration) string { return fmt.Sprintf("%.0f", max(t.Seconds(), 1)) }
