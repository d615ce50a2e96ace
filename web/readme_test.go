package web_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
)

// snippets are the blocks of a language below a heading of README.md.
func snippets(t *testing.T, heading, language string) (blocks []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("README.md has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for {
		var block string
		if _, section, ok = strings.Cut(section, "```"+language+"\n"); !ok {
			return blocks
		}
		block, section, _ = strings.Cut(section, "```")
		blocks = append(blocks, block)
	}
}

// TestREADMEInstallsNobodyElses: npm's package of this name is somebody else's.
func TestREADMEInstallsNobodyElses(t *testing.T) {
	for _, name := range []string{"README.md", "../README.md", "../transport/PROTOCOL.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := regexp.MustCompile(`npm (?:i|install|add) culvert|(?:unpkg\.com|cdn\.jsdelivr\.net/npm)/culvert`).Find(text); found != nil {
			t.Errorf("%s says %q", name, found)
		}
	}
}

// lossy is an address of the server on which answers are lost.
func lossy(t *testing.T, host string) string {
	t.Helper()
	box, err := middlebox.Start(middlebox.Config{Upstream: host, Options: middlebox.Options{Loss: 0.4, Seed: 11}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	return box.URL()
}

func publish(t *testing.T, server string, n int) {
	t.Helper()
	resp, err := http.Post(server+"/rooms/lobby", "text/plain", strings.NewReader(fmt.Sprint(n)))
	if err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%v %v", resp, err)
	}
	resp.Body.Close()
}

// patient makes a recipe hurry where it waits for a network.
func patient(recipe, server string) string {
	return strings.NewReplacer("http://localhost:8080", server, "sleep 2", "sleep 0.05").Replace(recipe)
}

// TestRecipes runs what the README says to those who have no library, on a
// network that loses answers.
func TestRecipes(t *testing.T) {
	for _, name := range []string{"curl", "jq"} {
		needtest.Program(t, name)
	}
	recipes := snippets(t, "No library at all", "sh")
	if len(recipes) != 2 {
		t.Fatalf("%d recipes", len(recipes))
	}
	t.Run("reading", func(t *testing.T) {
		server := startServer(t)
		testReading(t, recipes[0], server, lossy(t, server.Host))
	})
	t.Run("reading past empty answers and silence", func(t *testing.T) {
		server := startServer(t)
		testReading(t, strings.NewReplacer("-m 30", "-m 0.3", "wait=20", "wait=0").Replace(recipes[0]), server, rude(t, server))
	})
	t.Run("publishing", func(t *testing.T) { testPublishing(t, recipes[1]) })
	t.Run("publishing past empty answers and silence", func(t *testing.T) {
		server := startServer(t)
		recipe := strings.Replace(patient(recipes[1], rude(t, server)), "-m 30", "-m 0.3", 1)
		if out := recite(t, recipe); out != "1\n" {
			t.Errorf("it says %q", out)
		}
	})
}

// rude is an address of the server where, of four requests, one is answered
// with nothing and one not at all.
func rude(t *testing.T, server *url.URL) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(server)
	var n atomic.Int32
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 1:
		case 2:
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(gateway.Close)
	return gateway.URL
}

// recite runs a recipe in a folder of its own and gives what it prints.
func recite(t *testing.T, recipe string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", recipe)
	c.Dir = t.TempDir()
	c.WaitDelay = time.Second // for a curl that still waits
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func testReading(t *testing.T, recipe string, server *url.URL, through string) {
	const total = 30
	for n := range 5 {
		publish(t, server.String(), n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "sh", "-c", patient(recipe, through))
	c.WaitDelay = time.Second // for a curl that still waits
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		c.Wait()
	}()
	lines := bufio.NewScanner(out)
	for n := range total {
		if !lines.Scan() {
			t.Fatalf("it ends after %d messages (%v)", n, ctx.Err())
		}
		var m struct {
			Type string
			Data int
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil || m.Type != "message" || m.Data != n {
			t.Fatalf("message %d is %s (%v)", n, lines.Text(), err)
		}
		if n >= 4 && n < total-1 {
			publish(t, server.String(), n+1)
		}
	}
}

func testPublishing(t *testing.T, recipe string) {
	server := startServer(t)
	bad := lossy(t, server.Host)
	const total = 8
	for n := range total {
		if out := recite(t, patient(recipe, bad)); out != fmt.Sprintf("%d\n", n+1) {
			t.Errorf("publish %d says %q", n+1, out)
		}
	}
	// What is refused for good is not tried for ever.
	if out := recite(t, strings.Replace(patient(recipe, bad), "/rooms/lobby?", "/rooms/a%20b?", 1)); !strings.Contains(out, "bad_room") {
		t.Errorf("a bad room: %q", out)
	}
	// A gateway's refusal is none of the server's.
	refusals := 2
	proxy := httputil.NewSingleHostReverseProxy(server)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refusals--; refusals >= 0 {
			http.Error(w, `{"error":{"code":"forbidden","message":"not today"}}`, http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer gateway.Close()
	if out := recite(t, patient(recipe, gateway.URL)); out != fmt.Sprintf("%d\n", total+1) {
		t.Errorf("behind a gateway that refuses at first: %q", out)
	}
	resp, err := http.Get(server.String() + "/rooms/lobby/history")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Messages []struct{ Data any } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Messages) != total+1 {
		t.Errorf("%d messages arrived as %d (%v)", total, len(page.Messages), err)
	}
}

// TestLegacySnippet runs, in a real browser, the page that the README shows to
// those who must serve very old ones.
func TestLegacySnippet(t *testing.T) {
	blocks := snippets(t, "Very old browsers", "html")
	if len(blocks) != 1 {
		t.Fatalf("%d pages", len(blocks))
	}
	server := startServer(t)
	for n := range 12 {
		publish(t, server.String(), n)
	}
	heard := make(chan string, 64)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		html := strings.NewReplacer("https://example.org", server.String(), `src="/`, `src="`+server.String()+"/",
			"/* m.data */", `tell("message " + JSON.stringify(m.data));`, "/* published.offset */", `tell(error ? "error" : "published " + published.offset);`).Replace(blocks[0])
		io.WriteString(w, `<!doctype html><script>function tell(text) { var x = new XMLHttpRequest(); x.open("POST", "/told"); x.send(text); }</script>`+html)
	})
	mux.HandleFunc("POST /told", func(_ http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		_, _ = b.ReadFrom(r.Body)
		heard <- b.String()
	})
	page := httptest.NewServer(mux)
	defer page.Close()
	browse(t, "chromium", page.URL+"/")
	want := map[string]bool{"published 13": true, `message {"text":"hello"}`: true}
	for n := 2; n < 12; n++ { // the last ten, of which the snippet asks
		want[fmt.Sprintf("message %d", n)] = true
	}
	limit := time.After(2 * time.Minute)
	for len(want) > 0 {
		select {
		case text := <-heard:
			// The snippet's own message may be among the last ten already.
			if !want[text] {
				t.Errorf("it tells %q", text)
			}
			delete(want, text)
			if text == `message {"text":"hello"}` {
				delete(want, "message 2")
			}
		case <-limit:
			t.Fatalf("it does not tell of %v", want)
		}
	}
}
