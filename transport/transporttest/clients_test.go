package transporttest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/transporttest"
)

// clientTime bounds what a foreign client may take, its start included.
const clientTime = 2 * time.Minute

// site is a server for foreign clients: the real engine, what the tests need
// besides, and a way in that can be cut.
type site struct {
	url string // of the server
	cut *cutter
	// findings are what clients in a browser post.
	findings chan findings
}

// findings are what a page found out, one line for each thing that is wrong.
type findings struct {
	Done  []string
	Wrong []string
}

func newSite(t *testing.T) *site { return newSiteWith(t, siteOptions{}) }

type siteOptions struct {
	deflateFrom int  // WebSocket messages of so many bytes and more are compressed
	secure      bool // TLS, with HTTP/2
}

func newSiteWith(t *testing.T, o siteOptions) *site {
	t.Helper()
	network, err := transporttest.NewLoopback(false)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{url: "http://" + network.Addr().String(), findings: make(chan findings, 10)}
	s.cut = newCutter(t, network.Addr().String())
	l := net.Listener(network)
	if o.secure {
		s.url = "https://" + network.Addr().String()
		s.cut.scheme = "https"
		if l, err = transporttest.NewSecure(network, "h2", "http/1.1"); err != nil {
			t.Fatal(err)
		}
	}
	run := startDeflating(t, l, transporttest.Setup{}, transport.Options{
		LoopbackOrigins: true, BarePaths: []string{"/ws/chat/{room}/", "/ws/{room}"}, Pages: s.page,
	}, poller.New(), o.deflateFrom)
	t.Cleanup(run.Stop)
	return s
}

// page serves the tests' own addresses.
func (s *site) page(w http.ResponseWriter, r *http.Request) bool {
	name, ok := strings.CutPrefix(r.URL.Path, "/test/")
	if !ok {
		return false
	}
	if name == "cut" {
		s.cut.all()
		fmt.Fprintln(w, "cut")
		return true
	}
	// Pages are found by their name alone, with anything behind it.
	name, _, _ = strings.Cut(name, "/")
	http.ServeFile(w, r, filepath.Join("testdata", filepath.Base(name)))
	return true
}

// cutter forwards connections to the server, and breaks them when it is told.
type cutter struct {
	l  net.Listener
	to string
	wg sync.WaitGroup

	scheme string // "http" or "https"

	mu    sync.Mutex
	conns map[net.Conn]struct{} // guarded by mu
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{l: l, to: to, scheme: "http", conns: map[net.Conn]struct{}{}}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		l.Close()
		c.all()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) url() string { return c.scheme + "://" + c.l.Addr().String() }

func (c *cutter) accept() {
	for {
		in, err := c.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.conns[in], c.conns[out] = struct{}{}, struct{}{}
		c.mu.Unlock()
		forward := func(to, from net.Conn) {
			io.Copy(to, from)
			to.Close()
			from.Close()
			c.mu.Lock()
			delete(c.conns, from)
			c.mu.Unlock()
		}
		c.wg.Go(func() { forward(in, out) })
		c.wg.Go(func() { forward(out, in) })
	}
}

func (c *cutter) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close()
	}
}

// run runs a program that says "ok" last where everything is right.
func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(out), []byte("ok")) {
		t.Errorf("%s: %v\n%s", filepath.Base(name), err, out)
	}
}

// TestNodeClients: npm's ws and eventsource.
func TestNodeClients(t *testing.T) {
	node := needtest.Program(t, "node")
	modules := nodeModules(t, node, "ws", "eventsource")
	for _, tt := range compressions {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiteWith(t, siteOptions{deflateFrom: tt.from})
			run(t, []string{"NODE_PATH=" + modules}, node, filepath.Join("testdata", "clients.cjs"), s.url, s.cut.url(), tt.extension)
		})
	}
}

// compressions are the ways in which foreign clients are served. What is agreed
// on without any compression is nothing, although all of them offer it.
var compressions = []struct {
	name      string
	from      int
	extension string
}{
	{"plain", 0, ""},
	{"compressed", 1, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
}

// nodeModules is where node finds the packages: where NODE_PATH says, or
// freshly installed.
func nodeModules(t *testing.T, node string, packages ...string) string {
	t.Helper()
	path := os.Getenv("NODE_PATH")
	probe := exec.Command(node, "-e", "for (const p of process.argv.slice(1)) require.resolve(p)")
	probe.Args = append(probe.Args, packages...)
	if probe.Run() == nil {
		return path
	}
	npm := needtest.Program(t, "npm")
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	install := exec.CommandContext(ctx, npm, append([]string{"install", "--silent", "--no-audit", "--no-fund", "--prefix", dir}, packages...)...)
	install.WaitDelay = 5 * time.Second
	if out, err := install.CombinedOutput(); err != nil {
		needtest.Missing(t, "npm cannot install %v: %v\n%s", packages, err, out)
	}
	return filepath.Join(dir, "node_modules")
}

// TestPythonWebsockets: the package websockets, as Debian has it.
func TestPythonWebsockets(t *testing.T) {
	python := needtest.Program(t, "/usr/bin/python3", "python3")
	if err := exec.Command(python, "-c", "import websockets").Run(); err != nil {
		needtest.Missing(t, "python3 has no package websockets")
	}
	for _, tt := range compressions {
		t.Run(tt.name, func(t *testing.T) {
			s := newSiteWith(t, siteOptions{deflateFrom: tt.from})
			run(t, nil, python, filepath.Join("testdata", "client.py"), strings.Replace(s.url, "http", "ws", 1), tt.extension)
		})
	}
}

// TestChromium: the browser's own WebSocket, EventSource and fetch, on a page
// of the server and on one of another origin, and pages written for other
// servers.
func TestChromium(t *testing.T) {
	chromium := needtest.Program(t, "chromium", "chromium-browser", "google-chrome")
	s := newSite(t)
	// The pages are served by another server, to which they report as well.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost || r.Method == http.MethodOptions {
			s.report(w, r)
			return
		}
		if !s.page(w, r) {
			http.NotFound(w, r)
		}
	})}
	go other.Serve(l)
	t.Cleanup(func() { other.Close() })
	pages := "http://" + l.Addr().String()
	packed := newSiteWith(t, siteOptions{deflateFrom: 1})
	secure := newSiteWith(t, siteOptions{secure: true})
	for _, tt := range []struct {
		name, page string
		of         *site
		extension  string
		protocol   string
	}{
		{"own page", s.url + "/test/browser.html", s, "", "http/1.1"},
		{"another origin", pages + "/test/browser.html", s, "", "http/1.1"},
		{"pages of others", s.url + "/test/harness.html", s, "", "http/1.1"},
		{"compressed", packed.url + "/test/browser.html", packed, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "http/1.1"},
		{"TLS and HTTP2", secure.url + "/test/browser.html", secure, "", "h2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The page hears of the addresses behind the #, which servers do not see.
			hash := strings.Join([]string{tt.of.url, tt.of.cut.url(), pages, url.QueryEscape(tt.extension), tt.protocol}, ",")
			found := s.browse(t, chromium, tt.page+"#"+hash)
			for _, wrong := range found.Wrong {
				t.Error(wrong)
			}
			if len(found.Done) == 0 {
				t.Error("the page did nothing")
			}
			t.Logf("%d things are right: %s", len(found.Done), strings.Join(found.Done, "; "))
		})
	}
}

// report takes what a page has found.
func (s *site) report(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	var f findings
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&f); err == nil {
		select {
		case s.findings <- f:
		default:
		}
	}
}

// browse opens a page in a browser of its own and waits for its findings.
func (s *site) browse(t *testing.T, chromium, page string) findings {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--mute-audio", "--ignore-certificate-errors",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0", page)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ownGroup(cmd)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		cmd.Wait()
	}()
	select {
	case f := <-s.findings:
		return f
	case <-ctx.Done():
		cancel()
		cmd.Wait()
		t.Fatalf("the page reported nothing; the browser says\n%s", out.String())
		return findings{}
	}
}
