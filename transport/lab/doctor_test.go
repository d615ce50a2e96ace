//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// diagnosis is what "culvert doctor" says of a row.
type diagnosis struct {
	// finds are the codes of its findings, all of them but those of chance, which
	// may be among them or not.
	finds, chance string
	// best is the transport that it recommends.
	best string
}

// diagnoses are those of every row with somebody else's software in it. What a
// middlebox of our own does is named in the doctor's own tests.
var diagnoses = map[string]diagnosis{
	"nginx, set up for WebSocket":                         {finds: "clear", best: "websocket"},
	"caddy":                                               {finds: "clear", best: "websocket"},
	"1 nginx, bare proxy_pass":                            {finds: "http10 ws_stripped", best: "sse"},
	"1 squid in front":                                    {finds: "headers_stripped ws_stripped", best: "sse"},
	"1 varnish":                                           {finds: "queued ws_stripped", best: "sse"},
	"1 apache":                                            {finds: "ws_stripped", best: "sse"},
	"1 tinyproxy in front":                                {finds: "ws_stripped", best: "sse", chance: "flaky"},
	"1 haproxy, del-header upgrade":                       {finds: "streams_late ws_stripped", best: "sse"},
	"2 nginx, upgrade refused with 403":                   {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 400":                   {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 426":                   {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 502":                   {finds: "ws_refused", best: "sse"},
	"2 iptables, upgrade answered with a reset":           {finds: "ws_reset", best: "sse"},
	"3 iptables, upgrade dropped":                         {finds: "ws_swallowed", best: "sse"},
	"4 privoxy as Debian ships it":                        {finds: "streams_differ ws_silent", best: "sse"},
	"7 nginx, proxy_read_timeout 2s":                      {finds: "idle_cut", best: "websocket"},
	"7 haproxy, timeout tunnel 2s":                        {finds: "idle_cut streams_late", best: "websocket"},
	"8 conntrack forgets after 5 s":                       {finds: "idle_forgotten", best: "websocket"},
	"10 privoxy, filters all text":                        {finds: "streams_held ws_swallowed", best: "poll"},
	"12 nginx, 4 KB lumps":                                {finds: "http10 streams_lumps ws_stripped", best: "poll"},
	"13 nginx, compresses and holds":                      {finds: "ws_stripped", best: "sse"},
	"13 nginx, compresses everything else":                {finds: "http10 ws_stripped", best: "sse"},
	"14 privoxy: event-stream held, text passes":          {finds: "streams_differ ws_silent", best: "sse"},
	"15 haproxy, delays small chunks":                     {finds: "streams_late", best: "websocket"},
	"16 nginx, proxy_read_timeout 10s":                    {finds: "http10 idle_cut ws_stripped", best: "sse"},
	"17 apache, HTTP/1.0 upstream":                        {finds: "http10 ws_stripped", best: "sse"},
	"17 privoxy, HTTP/1.0":                                {finds: "http10 streams_differ ws_silent", best: "sse"},
	"18 squid, strips headers":                            {finds: "headers_stripped ws_stripped", best: "sse"},
	"19 nginx, GET and POST only":                         {finds: "methods_blocked", best: "websocket"},
	"20 nginx, caches everything":                         {finds: "cached http10 ws_stripped", best: "sse"},
	"20 squid, caches what says nothing":                  {finds: "headers_stripped ws_stripped", best: "sse"},
	"20 varnish, caches what says nothing":                {finds: "queued ws_stripped", best: "sse"},
	"21 varnish, merges equal GETs":                       {finds: "queued ws_stripped", best: "sse"},
	"21 nginx, merges equal GETs":                         {finds: "http10 queued ws_stripped", best: "sse"},
	"21 squid, merges equal GETs":                         {finds: "headers_stripped queued ws_stripped", best: "sse"},
	"23 nginx, URLs of 1 KB, bodies of 2 KB":              {finds: "body_limit http10 url_limit ws_stripped", best: "sse"},
	"25 nginx, mirrors every request":                     {finds: "http10 repeated ws_stripped", best: "sse"},
	"25 haproxy, retries every POST whose answer is lost": {finds: "repeated streams_late ws_refused", best: "sse", chance: "answers_lost flaky"},
	"26 nginx, 502 where the answer is lost":              {finds: "answers_lost ws_stripped", best: "sse", chance: "flaky"},
	"26 apache, 502 where the answer is lost":             {finds: "answers_lost ws_stripped", best: "sse", chance: "flaky"},
	"27 tinyproxy, CONNECT only to 443":                   {finds: "connect_refused", best: "sse"},
	"27 squid as Debian ships it, CONNECT only to 443":    {finds: "connect_refused", best: "sse"},
}

// TestDoctor: the doctor names what real proxies do, and nothing that they do
// not.
func TestDoctor(t *testing.T) {
	t.Parallel()
	for _, r := range rows {
		if strings.HasPrefix(r.name, "own proxy") || r.name == "nothing between" {
			continue
		}
		t.Run(r.title(), func(t *testing.T) {
			t.Parallel()
			if r.namespace && inNamespace(t) {
				return
			}
			s := startServer(t)
			p := r.start(t, s.host)
			if p.tls {
				t.Skip("the doctor takes no certificate that nobody knows")
			}
			want, ok := diagnoses[r.title()]
			if !ok {
				t.Error("it has no diagnosis")
			}
			var got examination
			for range 3 { // a busy machine can look like a bad network
				if got = examined(t, p); got.Best == want.best && got.codes(want.chance) == want.finds {
					return
				}
			}
			t.Errorf("best is %s, want %s; found\n%s, want\n%s\n%s", got.Best, want.best, got.codes(want.chance), want.finds, got.text)
		})
	}
}

// examination is what the doctor prints.
type examination struct {
	Best     string
	Verdict  string
	Steps    []struct{ Title, State, Result string }
	Findings []struct{ Code string }
	text     string
}

// codes are those of the findings, without those that chance has brought.
func (r examination) codes(chance string) string {
	var codes []string
	for _, f := range r.Findings {
		if !slices.Contains(strings.Fields(chance), f.Code) {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	return strings.Join(codes, " ")
}

// examined runs the program as a person would, in a hurry.
func examined(t *testing.T, p *path) (r examination) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"doctor", p.url, "--json", "--idle", "4s", "--wait", "12s", "--patience", "2s"}
	if p.proxy != nil {
		args = append(args, "--proxy", p.proxy.String())
	}
	out, err := exec.CommandContext(ctx, built.get(t), args...).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.text = string(out)
	return r
}
