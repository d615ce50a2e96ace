package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
)

var listensOn = regexp.MustCompile(`http://[^ ]+`)

// startServer builds and runs the real server, and returns its address.
func startServer(t *testing.T) *url.URL {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "culvert")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/culvert").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(binary, "serve", "--listen", "localhost:0")
	words, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	lines := bufio.NewScanner(words)
	if !lines.Scan() {
		t.Fatal("the server says nothing")
	}
	address, err := url.Parse(listensOn.FindString(lines.Text()))
	if err != nil || address.Host == "" {
		t.Fatalf("no address in %q: %v", lines.Text(), err)
	}
	go io.Copy(io.Discard, words) // It ends with the server.
	return address
}

// counted passes requests on to the server and keeps their methods.
type counted struct {
	proxy *httputil.ReverseProxy

	mu      sync.Mutex
	methods map[string]int // guarded by mu
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.methods[r.Method]++
	c.mu.Unlock()
	c.proxy.ServeHTTP(w, r)
}

// TestBrowser runs the built files in real browsers against the real server:
// as a module, as a classic script, in both kinds of workers, and the legacy
// file, from a page of another origin. No request may need a preflight.
func TestBrowser(t *testing.T) {
	server := startServer(t)
	for browser := range browsers {
		t.Run(browser, func(t *testing.T) {
			t.Parallel()
			runIn(t, browser, server)
		})
	}
}

func runIn(t *testing.T, browser string, server *url.URL) {
	api := &counted{proxy: httputil.NewSingleHostReverseProxy(server), methods: make(map[string]int)}
	api.proxy.ErrorLog = log.New(io.Discard, "", 0) // of polls that were given up
	middle := httptest.NewServer(api)
	t.Cleanup(middle.Close) // Servers end after the browser, which keeps connections.

	type result struct {
		Name, Fault string
		Transport   string
		Got         []int
	}
	results := make(chan result, 16)
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("test/browser")))
	mux.HandleFunc("/server.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, fmt.Sprintf("self.server = %q;\nself.browser = %q;\n", middle.URL, browser))
	})
	mux.HandleFunc("POST /result", func(_ http.ResponseWriter, r *http.Request) {
		var one result
		if err := json.NewDecoder(r.Body).Decode(&one); err != nil {
			one = result{Name: "?", Fault: err.Error()}
		}
		results <- one
	})
	page := httptest.NewServer(mux)
	t.Cleanup(page.Close)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	browse(t, browser, page.URL+"/")

	want := map[string]string{
		"module, websocket": "websocket", "module, sse": "sse", "module, poll": "poll",
		"classic script": "websocket", "module worker": "websocket", "classic worker": "websocket", "legacy": "",
	}
	for len(want) > 0 {
		select {
		case r := <-results:
			transport, ok := want[r.Name]
			delete(want, r.Name)
			if !ok || r.Fault != "" || r.Transport != transport {
				t.Errorf("%+v", r)
			}
			for i, n := range r.Got {
				if n != i {
					t.Errorf("%s: got %v", r.Name, r.Got)
					break
				}
			}
			if len(r.Got) != 20 {
				t.Errorf("%s: got %d messages", r.Name, len(r.Got))
			}
		case <-ctx.Done():
			t.Fatalf("no word from %v", want)
		}
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	if api.methods["OPTIONS"] > 0 || api.methods["POST"] == 0 || api.methods["GET"] == 0 {
		t.Errorf("requests: %v", api.methods)
	}
}

// TestRuntimes runs the client outside browsers against the real server, over the
// transports that each runtime has without help.
func TestRuntimes(t *testing.T) {
	for runtime, args := range map[string][]string{
		"node": {}, "deno": {"run", "--no-remote", "--allow-net", "--allow-read"},
	} {
		t.Run(runtime, func(t *testing.T) {
			program := needtest.Program(t, runtime)
			server := startServer(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program, append(args, "test/runtime.mjs", server.String())...)
			cmd.Env = append(os.Environ(), "DENO_NO_UPDATE_CHECK=1")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.HasSuffix(string(out), "good\n") {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
