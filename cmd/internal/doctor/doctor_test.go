package doctor

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
	"github.com/culvertd/culvert/transport/servertest"
	"github.com/culvertd/culvert/web/pages"
)

// TestMain lets many rows run at the same time, which mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if f := flag.Lookup("test.parallel"); f != nil && !given {
		_ = f.Value.Set("12")
	}
	os.Exit(m.Run())
}

// serve starts a whole server.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	return servertest.Start(t, servertest.Options{}).Server
}

func startBox(t *testing.T, upstream *httptest.Server, o middlebox.Options) *middlebox.Box {
	t.Helper()
	b, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(upstream.URL, "http://"), Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// quick are Options for misbehaviours that show within seconds.
func quick(target string) Options {
	return Options{URL: target, Idle: 5 * time.Second, Wait: 6 * time.Second, Patience: 2 * time.Second}
}

func examine(t *testing.T, o Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if text := r.Text(); regexp.MustCompile(`\{\w+\}`).MatchString(text) {
		t.Errorf("a value is missing:\n%s", text)
	}
	t.Logf("\n%s", r.Text())
	return r
}

// TestHonest: where nothing stands in the way, nothing is found.
func TestHonest(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	server := serve(t)
	secure := servertest.Start(t, servertest.Options{TLS: true}).Server // with HTTP/2, which a browser speaks there
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	https := quick(secure.URL)
	https.roots = roots
	tunnel, err := middlebox.Start(middlebox.Config{Forward: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tunnel.Close)
	tunnelled := https
	tunnelled.Proxy = tunnel.URL()
	for name, o := range map[string]Options{
		"directly":          quick(server.URL),
		"by HTTPS":          https,
		"HTTPS, by a proxy": tunnelled,
		"an honest box":     quick(startBox(t, server, middlebox.Options{}).URL()),
		"through a proxy":   {URL: "http://culvert.test:8080", Proxy: startBox(t, server, middlebox.Options{}).URL(), Idle: 2 * time.Second, Wait: 2 * time.Second},
		"an address behind": quick(server.URL + "/"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := 0
			o.Progress = func(s Step) {
				if s.State != "" {
					steps++
				}
			}
			var r *Report
			for range 3 { // a busy machine can look like a bad network
				steps = 0
				if r = examine(t, o); r.Has("clear") {
					break
				}
			}
			if len(r.Findings) != 1 || r.Findings[0].Code != "clear" || !r.Works || r.Best != "websocket" {
				t.Errorf("found %+v, best %q", r.Findings, r.Best)
			}
			if steps != len(r.Steps) || steps < 15 {
				t.Errorf("progress told of %d tests, the report of %d", steps, len(r.Steps))
			}
			for _, s := range r.Steps {
				if s.State != Good {
					t.Errorf("%s: %s, %s", s.ID, s.State, s.Result)
				}
			}
		})
	}
}

func notPosted(r *http.Request, h http.Header) bool { return middlebox.GETEventStreams(r, h) }

// TestMisbehaviours: each is named.
func TestMisbehaviours(t *testing.T) {
	needtest.Time(t, "it takes a minute")
	const second = time.Second
	for _, tt := range []struct {
		name string
		o    middlebox.Options
		want string // codes that must be found
		best string // "": not looked at; "none": nothing works
	}{
		{"strips the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeStrip}, "ws_stripped", "sse"},
		{"refuses the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeRefuse}, "ws_refused", "sse"},
		{"resets the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeReset}, "ws_reset", "sse"},
		{"swallows the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeSwallow}, "ws_swallowed", "sse"},
		{"drops frames", middlebox.Options{Frames: middlebox.FramesDrop}, "ws_silent", "sse"},
		{"holds frames", middlebox.Options{Frames: middlebox.FramesHold}, "ws_silent", "sse"},
		{"corrupts frames", middlebox.Options{Frames: middlebox.FramesCorrupt}, "ws_corrupt", "sse"},
		{"drops frames later", middlebox.Options{Frames: middlebox.FramesDrop, FramesAfter: 2 * second}, "ws_goes_silent", "sse"},
		{"limits the age of WebSockets", middlebox.Options{WebSocketAge: 3 * second}, "ws_age", "websocket"},
		{"limits frames", middlebox.Options{MaxFrame: 8000}, "ws_large", "sse"},
		{"forgets connections", middlebox.Options{ForgetAfter: 3 * second}, "ws_goes_silent", ""},
		{"ends idle connections", middlebox.Options{IdleTimeout: 2500 * time.Millisecond}, "idle_cut", "websocket"},
		{"forgets idle connections", middlebox.Options{IdleTimeout: 2500 * time.Millisecond, IdleForget: true}, "idle_forgotten", "websocket"},
		{"kills after some bytes", middlebox.Options{KillAtBytes: 30_000}, "answers_cut", ""},
		{"is far away", middlebox.Options{Delay: 350 * time.Millisecond, Jitter: 20 * time.Millisecond}, "slow", "websocket"},
		{"is thin", middlebox.Options{BytesPerSecond: 20_000}, "thin", ""},
		{"holds responses", middlebox.Options{Hold: middlebox.HoldResponse, Held: middlebox.Streams}, "streams_held", "websocket"},
		{"holds responses, no WebSocket", middlebox.Options{Hold: middlebox.HoldResponse, Upgrade: middlebox.UpgradeRefuse}, "streams_held ws_refused", "poll"},
		{"holds bodies", middlebox.Options{Hold: middlebox.HoldBody}, "streams_body_held", ""},
		{"holds event streams of GET", middlebox.Options{Hold: middlebox.HoldResponse, Held: notPosted, Upgrade: middlebox.UpgradeStrip}, "streams_differ ws_stripped", "sse"},
		{"holds first bytes", middlebox.Options{HoldFirst: 6000}, "streams_first", ""},
		{"passes lumps", middlebox.Options{Lumps: 4096}, "streams_lumps", ""},
		{"batches", middlebox.Options{Batch: 800 * time.Millisecond}, "streams_batched", ""},
		{"delays what streams", middlebox.Options{Batch: 230 * time.Millisecond, Held: middlebox.Streams}, "streams_late", "websocket"},
		{"compresses", middlebox.Options{GzipHold: true}, "streams_compressed", ""},
		{"caps responses", middlebox.Options{CapResponse: 4 * second}, "response_cap", "websocket"},
		{"caps responses and holds them", middlebox.Options{CapResponse: 4 * second, Hold: middlebox.HoldResponse}, "poll_cut", "websocket"},
		{"speaks HTTP/1.0", middlebox.Options{HTTP10: true}, "http10", ""},
		{"loses answers", middlebox.Options{Loss: 0.5, Seed: 1, LossStatus: 502}, "answers_lost", ""},
		{"loses answers without a word", middlebox.Options{Loss: 0.5, Seed: 1}, "answers_lost", ""},
		{"removes headers", middlebox.Options{Strip: []string{"Authorization", "Idempotency-Key"}}, "headers_stripped", "websocket"},
		{"removes headers of answers", middlebox.Options{StripResponse: []string{"Cache-Control"}}, "response_headers", "websocket"},
		{"blocks methods", middlebox.Options{Methods: []string{"GET", "POST"}}, "methods_blocked", "websocket"},
		{"blocks POST", middlebox.Options{Methods: []string{"GET", "HEAD"}}, "post_blocked methods_blocked", "websocket"},
		{"limits addresses", middlebox.Options{MaxURL: 1000}, "url_limit", "websocket"},
		{"limits bodies", middlebox.Options{MaxBody: 2000}, "body_limit", "websocket"},
		{"caches", middlebox.Options{Cache: 10 * second}, "cached", "websocket"},
		{"merges", middlebox.Options{Merge: true}, "merged", "websocket"},
		{"repeats", middlebox.Options{Repeat: middlebox.RepeatAll}, "repeated", ""},
		{"repeats POST", middlebox.Options{Repeat: middlebox.RepeatPOST}, "repeated", "websocket"},
		{"is a captive portal", middlebox.Options{Answer: middlebox.CaptivePortal()}, "portal", "none"},
		{"wants a password", middlebox.Options{Answer: middlebox.ProxyAuthRequired()}, "proxy_auth", "none"},
		{"is busy", middlebox.Options{Answer: middlebox.Busy(503, second, 4)}, "busy", "websocket"},
		{"is busy for good", middlebox.Options{Answer: middlebox.Busy(503, second, 0)}, "busy", "none"},
		{"fails now and then", middlebox.Options{Seed: 3, Answer: &middlebox.Answer{Status: 502, Share: 0.3}, Only: notUpgrades}, "flaky", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := quick(startBox(t, serve(t), tt.o).URL())
			var wrong []string
			for range 3 { // a busy machine can look like a bad network, and hide what is wrong with this one
				if wrong = misjudged(examine(t, o), tt.want, tt.best); len(wrong) == 0 {
					return
				}
			}
			t.Error(strings.Join(wrong, "\n"))
		})
	}
}

// TestNoPost: what cannot be sent is not said to pass.
func TestNoPost(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	o := quick(startBox(t, serve(t), middlebox.Options{Methods: []string{"GET", "HEAD"}, Upgrade: middlebox.UpgradeStrip}).URL())
	o.Idle, o.Wait = time.Second, time.Second
	r := examine(t, o)
	if !strings.HasSuffix(r.Verdict, "Nothing can be published: neither POST nor a WebSocket gets through.") {
		t.Error(r.Verdict)
	}
	for id, want := range map[string]State{"publish": Bad, "addresses": Good, "bodies": Skipped, "stream-post": Skipped} {
		if i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.ID == id }); i < 0 || r.Steps[i].State != want {
			t.Errorf("%s is not %s: %+v", id, want, r.Steps)
		}
	}
}

// TestQueued: requests for the same address may have to wait for each other.
func TestQueued(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	var locks sync.Map
	server := serve(t)
	behind := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lock, _ := locks.LoadOrStore(r.RequestURI, new(sync.Mutex))
		lock.(*sync.Mutex).Lock()
		defer lock.(*sync.Mutex).Unlock()
		behind.ServeHTTP(w, r)
	})
	var wrong []string
	for range 3 { // a busy machine can look like a bad network
		if wrong = misjudged(examine(t, quick(server.URL)), "queued", "websocket"); len(wrong) == 0 {
			return
		}
	}
	t.Error(strings.Join(wrong, "\n"))
}

// TestKeptConnectionsEnd: a proxy may end each connection after its first
// answer without having said so, as tinyproxy does. What was sent on one just
// then is no failure: browsers send it again.
func TestKeptConnectionsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	t.Parallel()
	target, err := url.Parse(serve(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	sockets := httputil.NewSingleHostReverseProxy(target)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	var ended atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			sockets.ServeHTTP(w, r)
			return
		}
		r.URL.Scheme, r.URL.Host, r.RequestURI = target.Scheme, target.Host, ""
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		client, unread, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		resp, err := transport.RoundTrip(r)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		if resp.Write(client) != nil {
			return
		}
		// The next request comes now, and nobody reads it any more.
		_ = client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := unread.Peek(1); err == nil {
			ended.Add(1)
		}
	}))
	t.Cleanup(proxy.Close)
	var r *Report
	for range 3 { // a busy machine can look like a bad network
		if r = examine(t, quick(proxy.URL)); r.Has("clear") && r.Best == "websocket" {
			break
		}
	}
	if !r.Has("clear") || r.Best != "websocket" {
		t.Errorf("best is %s, found are %+v", r.Best, r.Findings)
	}
	if n := ended.Load(); n < 10 {
		t.Errorf("%d requests met the end of their connection", n)
	}
}

// TestForeignRefusal: a status is not enough to know who refuses a handshake.
func TestForeignRefusal(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	server := serve(t)
	behind := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			http.Error(w, "not here", http.StatusUpgradeRequired)
			return
		}
		behind.ServeHTTP(w, r)
	})
	if r := examine(t, quick(server.URL)); !r.Has("ws_refused") || r.Has("ws_stripped") {
		t.Errorf("%+v", r.Findings)
	}
}

// misjudged tells what a report lacks.
func misjudged(r *Report, want, best string) (wrong []string) {
	for _, code := range strings.Fields(want) {
		if !r.Has(code) {
			wrong = append(wrong, code+" is not found")
		}
	}
	if r.Has("clear") {
		wrong = append(wrong, "the path is called clear")
	}
	if r.Works != (best != "none") {
		wrong = append(wrong, fmt.Sprintf("works: %v", r.Works))
	}
	if best != "" && best != "none" && r.Best != best {
		wrong = append(wrong, fmt.Sprintf("best is %s, want %s", r.Best, best))
	}
	return wrong
}

func notUpgrades(r *http.Request) bool {
	return r.Header.Get("Upgrade") == "" && r.Method == http.MethodGet
}

func TestUnreachable(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	r := examine(t, quick(server.URL))
	if r.Works || !r.Has("foreign") {
		t.Errorf("%+v", r.Findings)
	}
	server.Close()
	r = examine(t, quick(server.URL))
	if r.Works || !r.Has("unreachable") || !strings.Contains(r.Findings[0].Network, "the connection is refused") {
		t.Errorf("%+v", r.Findings)
	}
}

// TestGone: what a server took with it when it ended says nothing of the network.
func TestGone(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	box := startBox(t, serve(t), middlebox.Options{})
	o := quick(box.URL())
	o.Progress = func(s Step) {
		if s.ID == "waiting" && s.State == "" {
			box.Close()
		}
	}
	r := examine(t, o)
	if r.Works || r.Best != "" || !r.Has("gone") || r.Has("ws_age") || r.Has("response_cap") || !strings.Contains(r.Verdict, "out of reach") {
		t.Errorf("works %v, best %q, %+v", r.Works, r.Best, r.Findings)
	}
}

// TestNoAnswer: what stands in the way of every request is said in words that do
// not come from a program.
func TestNoAnswer(t *testing.T) {
	plain := serve(t)
	secure := servertest.Start(t, servertest.Options{TLS: true}).Server
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "220 mail.example.org\r\n")
			_ = c.Close()
		}
	}))
	t.Cleanup(other.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	refuses := func(status int) string {
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(proxy.Close)
		return proxy.URL
	}
	moves := func(location string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", strings.ReplaceAll(location, "PATH", r.URL.RequestURI()))
			w.WriteHeader(http.StatusMovedPermanently)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	nothing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error":{"code":"not_found","message":"no such route"}}`, http.StatusNotFound)
	}))
	t.Cleanup(nothing.Close)
	for name, tt := range map[string]struct{ url, proxy, code, says string }{
		"HTTP where HTTPS is asked for":    {strings.Replace(plain.URL, "http", "https", 1), "", "unreachable", "no answer: what answers speaks HTTP, not HTTPS."},
		"HTTPS where HTTP is asked for":    {strings.Replace(secure.URL, "https", "http", 1), "", "foreign", "not a Culvert server (status 400)"},
		"a certificate that nobody knows":  {secure.URL, "", "unreachable", "the certificate is signed by nobody whom this device trusts"},
		"not HTTP":                         {other.URL, "", "unreachable", "no answer: what answers does not speak HTTP."},
		"no port":                          {"http://127.0.0.1:99999", "", "unreachable", "no answer: invalid port 99999."},
		"a dead proxy":                     {plain.URL, gone.URL, "proxy_unreachable", "The proxy cannot be reached: the connection is refused."},
		"a dead proxy, HTTPS":              {secure.URL, gone.URL, "proxy_unreachable", "The proxy cannot be reached: the connection is refused."},
		"a proxy that refuses HTTPS":       {secure.URL, refuses(403), "unreachable", "no answer: the proxy refuses CONNECT with status 403."},
		"a proxy that wants a name, HTTPS": {secure.URL, refuses(407), "proxy_auth", "wants a name and a password"},
		"the page's address":               {plain.URL + "/doctor", "", "wrong_path", "it knows nothing of /doctor."},
		"a room's address":                 {plain.URL + "/rooms/lobby/", "", "wrong_path", "it knows nothing of /rooms/lobby."},
		"a gateway that finds nothing":     {nothing.URL + "/doctor", "", "foreign", "not a Culvert server (status 404)"},
		"a server that does not run":       {refuses(502), "", "server_down", "does not reach it (status 502)."},
		"a name and a password":            {refuses(401), "", "login", "wants a name and a password (status 401)."},
		"moved to HTTPS":                   {moves("https://culvert.test:8443PATH"), "", "moved", "another address: https://culvert.test:8443."},
		"moved below a prefix":             {moves("/inner/PATH"), "", "moved", "/inner."},
		"a page to sign in":                {moves("https://wifi.example.org/sign-in?from=PATH"), "", "moved", "https://wifi.example.org/sign-in."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick(tt.url)
			o.Proxy = tt.proxy
			r := examine(t, o)
			if r.Works || len(r.Findings) != 1 || r.Findings[0].Code != tt.code || !strings.Contains(r.Findings[0].Network, tt.says) {
				t.Errorf("%+v", r.Findings)
			}
			if told := "The requests were sent through the proxy " + tt.proxy + ".\n"; strings.Contains(r.Conclusion(), told) != (tt.proxy != "") {
				t.Errorf("the proxy is told of, or not:\n%s", r.Conclusion())
			}
		})
	}
}

// TestConnectRefused: a proxy may pass requests on and yet refuse the tunnel
// that a WebSocket takes.
func TestConnectRefused(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	server, err := url.Parse(serve(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(server)
	forward.FlushInterval = -1
	forward.ErrorLog = log.New(io.Discard, "", 0)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			http.Error(w, "port 443 only", http.StatusForbidden)
			return
		}
		if r.Header.Get("Proxy-Authorization") == "" || r.URL.Host != "culvert.test" {
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	o := quick("http://culvert.test")
	o.Proxy = strings.Replace(proxy.URL, "http://", "http://ann:hunter2@", 1)
	r := examine(t, o)
	if !r.Has("connect_refused") || r.Best != "sse" {
		t.Errorf("best %s, %+v", r.Best, r.Findings)
	}
	if strings.Contains(r.Text(), "hunter2") {
		t.Error("the report shows a password")
	}
	o.Proxy = proxy.URL
	if r := examine(t, o); r.Works || !r.Has("proxy_auth") {
		t.Errorf("%+v", r.Findings)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{}, {URL: "ftp://a"}, {URL: "http://a", Proxy: "socks4://a"}, {URL: "http://a", Proxy: "a:3128"}, {URL: "http://a", Proxy: "http://"},
		{URL: "http://a", Idle: -1}, {URL: "http://a", Wait: time.Minute},
	} {
		if _, err := Run(t.Context(), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	_, err := Run(t.Context(), Options{URL: "http://a", Proxy: "ftp://ann:hunter2@b"})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{URL: "http://127.0.0.1:1"}); err == nil {
		t.Error("a run that was broken off has a report")
	}
}

// TestWords: every finding has words, and the levels are known.
func TestWords(t *testing.T) {
	var words map[string]struct{ Level, Network, Culvert string }
	if err := json.Unmarshal(pages.Findings, &words); err != nil {
		t.Fatal(err)
	}
	for code, w := range words {
		if !slices.Contains([]string{"good", "note", "slow", "bad", "unknown"}, w.Level) || !strings.HasSuffix(w.Network, ".") || !strings.HasSuffix(w.Culvert, ".") {
			t.Errorf("%s: %+v", code, w)
		}
	}
}
