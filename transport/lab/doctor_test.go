//go:build linux

package lab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
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
	"nginx, set up for WebSocket":                              {finds: "clear", best: "websocket"},
	"caddy":                                                    {finds: "clear", best: "websocket"},
	"1 nginx, bare proxy_pass":                                 {finds: "http10 ws_stripped", best: "sse"},
	"1 squid in front":                                         {finds: "headers_stripped ws_stripped", best: "sse"},
	"1 varnish":                                                {finds: "queued ws_stripped", best: "sse"},
	"1 apache":                                                 {finds: "ws_stripped", best: "sse"},
	"1 tinyproxy in front":                                     {finds: "ws_stripped", best: "sse"},
	"1 haproxy, del-header upgrade":                            {finds: "streams_late ws_stripped", best: "sse"},
	"2 nginx, upgrade refused with 403":                        {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 400":                        {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 426":                        {finds: "ws_refused", best: "sse"},
	"2 nginx, upgrade refused with 502":                        {finds: "ws_refused", best: "sse"},
	"2 iptables, upgrade answered with a reset":                {finds: "ws_reset", best: "sse"},
	"3 iptables, upgrade dropped":                              {finds: "ws_swallowed", best: "sse"},
	"4 privoxy as Debian ships it":                             {finds: "streams_differ ws_silent", best: "sse"},
	"6 ss -K, every connection ends at 5 s":                    {finds: "response_cap", best: "websocket", chance: "flaky idle_cut"},
	"7 nginx, proxy_read_timeout 2s":                           {finds: "idle_cut", best: "websocket"},
	"7 haproxy, timeout tunnel 2s":                             {finds: "idle_cut streams_late", best: "websocket"},
	"8 conntrack forgets after 5 s":                            {finds: "idle_forgotten", best: "websocket"},
	"10 privoxy, filters all text":                             {finds: "streams_held ws_swallowed", best: "poll"},
	"12 nginx, 4 KB lumps":                                     {finds: "http10 streams_lumps ws_stripped", best: "poll"},
	"13 nginx, compresses and holds":                           {finds: "ws_stripped", best: "sse"},
	"13 nginx, compresses everything else":                     {finds: "http10 ws_stripped", best: "sse"},
	"14 privoxy: event-stream held, text passes":               {finds: "streams_differ ws_silent", best: "sse"},
	"14 nginx: event-stream compressed and held, text passes":  {finds: "ws_stripped", best: "sse"},
	"15 haproxy, delays small chunks":                          {finds: "streams_late", best: "websocket"},
	"16 nginx, proxy_read_timeout 10s":                         {finds: "http10 idle_cut ws_stripped", best: "sse"},
	"17 apache, HTTP/1.0 upstream":                             {finds: "http10 ws_stripped", best: "sse"},
	"17 privoxy, HTTP/1.0":                                     {finds: "http10 streams_differ ws_silent", best: "sse"},
	"18 squid, strips headers":                                 {finds: "headers_stripped ws_stripped", best: "sse"},
	"19 nginx, GET and POST only":                              {finds: "methods_blocked", best: "websocket"},
	"20 nginx, caches everything":                              {finds: "cached http10 ws_stripped", best: "sse"},
	"20 squid, caches what says nothing":                       {finds: "headers_stripped ws_stripped", best: "sse"},
	"20 varnish, caches what says nothing":                     {finds: "queued ws_stripped", best: "sse"},
	"21 varnish, merges equal GETs":                            {finds: "queued ws_stripped", best: "sse"},
	"21 nginx, merges equal GETs":                              {finds: "http10 queued ws_stripped", best: "sse"},
	"21 squid, merges equal GETs":                              {finds: "headers_stripped queued ws_stripped", best: "sse"},
	"23 nginx, URLs of 1 KB, bodies of 2 KB":                   {finds: "body_limit http10 url_limit ws_stripped", best: "sse"},
	"25 nginx, mirrors every request":                          {finds: "http10 repeated ws_stripped", best: "sse"},
	"25 nginx, repeats a GET that a reused connection drops":   {finds: "ws_stripped", best: "sse", chance: "answers_lost flaky idle_forgotten"},
	"25 squid, repeats a GET that a reused connection drops":   {finds: "headers_stripped ws_stripped", best: "sse", chance: "answers_lost flaky idle_forgotten"},
	"25 varnish, repeats a GET that a reused connection drops": {finds: "ws_stripped", best: "sse", chance: "answers_lost flaky idle_forgotten"},
	"25 caddy, repeats a GET that a reused connection drops":   {finds: "ws_refused", best: "sse", chance: "answers_lost flaky idle_forgotten"},
	"25 haproxy, retries every POST whose answer is lost":      {finds: "repeated streams_late ws_refused", best: "sse", chance: "answers_lost flaky"},
	"26 nginx, 502 where the answer is lost":                   {finds: "answers_lost ws_stripped", best: "sse", chance: "flaky"},
	"26 apache, 502 where the answer is lost":                  {finds: "answers_lost ws_stripped", best: "sse", chance: "flaky"},
	"27 tinyproxy, CONNECT only to 443":                        {finds: "connect_refused", best: "sse"},
	"27 squid as Debian ships it, CONNECT only to 443":         {finds: "connect_refused", best: "sse"},
	"29 caddy, HTTP/2 to the client":                           {finds: "clear", best: "websocket"},
	"29 Go's proxy, HTTP/2 to the client, refuses WebSocket":   {finds: "ws_refused", best: "sse"},
	// The doctor opens WebSockets by HTTP/1.1 only, as Node does.
	"29 Go's proxy with http2xconnect=1, offers WebSocket over HTTP/2 and breaks it": {finds: "clear", best: "websocket"},
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

// onPage are the rows whose diagnosis the page /doctor is asked for as well, in a
// browser.
var onPage = []string{
	"caddy", "1 nginx, bare proxy_pass", "1 varnish", "1 tinyproxy in front", "4 privoxy as Debian ships it", "10 privoxy, filters all text",
	"12 nginx, 4 KB lumps", "13 nginx, compresses and holds", "15 haproxy, delays small chunks", "18 squid, strips headers",
	"19 nginx, GET and POST only", "20 nginx, caches everything",
}

// forPage is what a browser is told: not who refuses a WebSocket, nor how.
var forPage = strings.NewReplacer("ws_stripped", "ws_blocked", "ws_refused", "ws_blocked", "ws_reset", "ws_blocked", "connect_refused", "ws_blocked")

// verdicts are how the page's verdict on a transport begins.
var verdicts = map[string]string{
	"websocket": "Culvert works here over a WebSocket", "sse": "Culvert works here over a stream", "poll": "Culvert works here by polling",
}

// TestDoctorPage: the page comes to the same findings as the program.
func TestDoctorPage(t *testing.T) {
	t.Parallel()
	b := startBrowser(lasting{t})
	for _, r := range rows {
		if !slices.Contains(onPage, r.title()) {
			continue
		}
		t.Run(r.title(), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := r.start(t, s.host)
			want := diagnoses[r.title()]
			finds := strings.Fields(forPage.Replace(want.finds))
			slices.Sort(finds)
			var got examination
			for range 3 { // a busy machine can look like a bad network
				if got = shown(t, b, p); strings.HasPrefix(got.Verdict, verdicts[want.best]) && got.codes(want.chance) == strings.Join(finds, " ") {
					return
				}
			}
			t.Errorf("found\n%s, want\n%s and %s\n%s", got.codes(want.chance), strings.Join(finds, " "), want.best, got.text)
		})
	}
}

// shown is what the page shows.
func shown(t *testing.T, b *browser, p *path) (e examination) {
	t.Helper()
	page, err := b.open(p.url+"/doctor?run&idle=4&wait=12&patience=2", p.proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer page.close()
	for deadline := time.Now().Add(2 * time.Minute); page.evaluate(`document.body && document.body.dataset.done`) != "1"; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("the tests do not end: %s", page.evaluate(`document.body.innerText`))
		}
	}
	text := page.evaluate(`JSON.stringify({
		verdict: document.querySelector("#verdict").textContent,
		findings: Array.from(document.querySelectorAll("#findings > div"), (e) => ({ code: e.dataset.code })),
	})`)
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	e.text = page.evaluate(`document.querySelector("#report").textContent`)
	return e
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

// certificates is a file with those that a path shows, for a program that is to
// know them.
func certificates(t *testing.T, p *path) string {
	t.Helper()
	c, err := tls.Dial("tcp", p.url[len("https://"):], &tls.Config{InsecureSkipVerify: true}) // the lab's own certificate
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var text []byte
	for _, one := range c.ConnectionState().PeerCertificates {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one.Raw})...)
	}
	file := filepath.Join(directory(t), "known.pem")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
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
	c := exec.CommandContext(ctx, built.get(t), args...)
	if p.tls {
		c.Env = append(os.Environ(), "SSL_CERT_FILE="+certificates(t, p))
	}
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.text = string(out)
	return r
}
