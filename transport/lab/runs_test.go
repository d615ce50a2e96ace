//go:build linux

package lab

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed js
var scripts embed.FS

// task is what a client is to do; see js/run.mjs.
type task struct {
	URL        string   `json:"url"`
	Room       string   `json:"room"`
	Messages   int      `json:"messages"`         // that it publishes, and that come from elsewhere
	Every      int      `json:"every"`            // milliseconds between its publishes
	Rest       int      `json:"rest,omitempty"`   // milliseconds of silence amid them
	Patience   int      `json:"patience"`         // milliseconds it waits for messages and answers
	Late       int      `json:"late"`             // messages from elsewhere after the lab's word
	Traffic    int      `json:"traffic"`          // of its own after that word
	Back       bool     `json:"back,omitempty"`   // it waits for the transports again at the end
	Reach      []string `json:"reach,omitempty"`  // transports to wait for at the end
	Settle     int      `json:"settle,omitempty"` // milliseconds to wait for them
	Transports []string `json:"transports,omitempty"`
	Home       bool     `json:"-"`                // a page is of the server's own origin
	Client     string   `json:"client,omitempty"` // a page's; "": the one that the server has
}

// report is what a client says at its end. Times are milliseconds after its
// connect().
type report struct {
	Arrivals []struct {
		Data   item
		Offset int64
		At     float64
	}
	Acks []struct {
		Data      item
		Offset    int64
		Duplicate bool
	}
	Gaps      int
	States    []string // as it was told of them
	Failures  []string
	First     float64
	Transport string
	Back      string // the transport after all
	State     string
	Took      float64
	WebSocket string
}

// item is the data of a message: the number of one from the client, or of one
// from elsewhere.
type item struct {
	Up   *int `json:"up,omitempty"`
	Down *int `json:"down,omitempty"`
}

// word is what a client tells the lab.
type word struct {
	What   string
	For    string
	Text   string
	At     float64
	Took   float64
	Data   item
	Report *report
}

// run is a client at work.
type run struct {
	words  chan word // closed at its end
	goOn   func()
	finish func()        // ends it, whatever it does; may be called twice
	ends   bool          // words is closed when it has ended by itself
	look   func() string // what there is of the report; nil: nobody can see
}

// wait returns the next word of a kind, passing over others but faults.
func (r *run) wait(ctx context.Context, what string) (word, error) {
	for {
		select {
		case w, ok := <-r.words:
			switch {
			case !ok:
				return w, errors.New("the client ended without a word")
			case w.What == "fault":
				return w, errors.New(w.Text)
			case w.What == what:
				return w, nil
			}
		case <-ctx.Done():
			return word{}, fmt.Errorf("no word %q from the client: %w", what, ctx.Err())
		}
	}
}

// leftovers tells what still happened after the last word: a client that was
// closed leaves nothing behind that could keep its program running.
func (r *run) leftovers(ctx context.Context) error {
	for r.ends {
		select {
		case w, ok := <-r.words:
			if !ok {
				return nil
			}
			if w.What == "fault" {
				return errors.New(w.Text)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// runtime is where the client runs.
type runtime interface {
	name() string
	begin(t testing.TB, p *path, k task) (*run, error)
}

// node runs the client in Node.
type node struct {
	program string
	client  string // the file
	dir     string // with the scripts
	flags   []string
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{program: program(t, "node"), dir: directory(t)}
	n.client = clientFile(t)
	for _, name := range []string{"run.mjs", "node.mjs"} {
		text, err := scripts.ReadFile("js/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(n.dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Node 20 has WebSocket behind a flag, later ones without.
	if err := exec.Command(n.program, "--experimental-websocket", "-e", "0").Run(); err == nil {
		n.flags = []string{"--experimental-websocket"}
	}
	return n
}

// clientFile is the built client for import.
func clientFile(t testing.TB) string {
	t.Helper()
	file, err := filepath.Abs("../../web/dist/culvert.js")
	if given := os.Getenv("LAB_CLIENT"); given != "" {
		file = given
	}
	if err == nil {
		_, err = os.Stat(file)
	}
	if err != nil {
		missing(t, "the browser client is not built: %v", err)
	}
	return file
}

func (n *node) name() string { return "node" }

func (n *node) begin(t testing.TB, p *path, k task) (*run, error) {
	if p.proxy != nil {
		return nil, errors.New("fetch in Node knows no proxies")
	}
	text, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	c := exec.Command(n.program, append(append([]string{}, n.flags...), filepath.Join(n.dir, "node.mjs"), n.client, string(text))...)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Env = append(os.Environ(), "NODE_NO_WARNINGS=1")
	if p.tls {
		c.Env = append(c.Env, "NODE_TLS_REJECT_UNAUTHORIZED=0") // the lab's own certificate
	}
	in, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	said, err := os.Create(filepath.Join(directory(t), "node.err"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	c.Stderr = said
	if err := c.Start(); err != nil {
		return nil, err
	}
	r := &run{words: make(chan word, 1000), ends: true}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(r.words)
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				break
			}
			var w word
			if json.Unmarshal(line, &w) == nil {
				r.words <- w
			}
		}
		if err := c.Wait(); err != nil {
			text, _ := os.ReadFile(said.Name())
			r.words <- word{What: "fault", Text: fmt.Sprintf("node: %v: %s", err, text)}
		}
	}()
	r.goOn = func() { _, _ = io.WriteString(in, "\n") }
	r.finish = func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		<-done
	}
	return r, nil
}

// inPages runs the client in the pages of a browser.
type inPages struct {
	browser interface {
		name() string
		open(address string, proxy *url.URL) (tab, error)
	}
	pages  *httptest.Server
	client string // the file

	mu   sync.Mutex
	last int                 // guarded by mu
	runs map[string]*pageRun // guarded by mu
}

type pageRun struct {
	task  task
	words chan word
	goOn  chan struct{}
	ended chan struct{}
}

func newChromium(t testing.TB) *inPages {
	t.Helper()
	c := newInPages(t)
	c.browser = startBrowser(t)
	return c
}

func newFirefox(t testing.TB) *inPages {
	t.Helper()
	c := newInPages(t)
	c.browser = startFirefox(t)
	return c
}

func newInPages(t testing.TB) *inPages {
	t.Helper()
	c := &inPages{client: clientFile(t), runs: map[string]*pageRun{}}
	c.pages = httptest.NewServer(c)
	t.Cleanup(c.pages.Close)
	return c
}

func (c *inPages) name() string { return c.browser.name() }

func (c *inPages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Access-Control-Allow-Origin", "*") // of pages that are at home elsewhere
	switch r.URL.Path {
	case "/page.html", "/run.mjs":
		http.ServeFileFS(w, r, scripts, "js"+r.URL.Path)
		return
	case "/culvert.js":
		http.ServeFile(w, r, c.client)
		return
	}
	c.mu.Lock()
	run := c.runs[r.FormValue("id")]
	c.mu.Unlock()
	if run == nil {
		http.NotFound(w, r)
		return
	}
	switch r.URL.Path {
	case "/task":
		_ = json.NewEncoder(w).Encode(run.task)
	case "/go":
		select {
		case <-run.goOn:
		case <-run.ended:
		case <-r.Context().Done():
		}
	case "/tell":
		var told word
		if err := json.NewDecoder(r.Body).Decode(&told); err != nil {
			told = word{What: "fault", Text: fmt.Sprintf("not a word: %v", err)}
		}
		select {
		case run.words <- told:
		case <-run.ended:
		}
	default:
		http.NotFound(w, r)
	}
}

func (c *inPages) begin(_ testing.TB, p *path, k task) (*run, error) {
	if os.Getenv("LAB_CLIENT") != "" {
		k.Client = "/culvert.js"
	}
	one := &pageRun{task: k, words: make(chan word, 1000), goOn: make(chan struct{}, 8), ended: make(chan struct{})}
	c.mu.Lock()
	c.last++
	id := fmt.Sprint(c.last)
	c.runs[id] = one
	c.mu.Unlock()
	at := c.pages.URL
	if k.Home {
		at = p.url + homePath + c.pages.Listener.Addr().String()
	}
	page, err := c.browser.open(at+"/page.html?id="+id+"&lab="+url.QueryEscape(c.pages.URL), p.proxy)
	if err != nil {
		return nil, err
	}
	var once sync.Once
	return &run{
		words: one.words,
		goOn:  func() { one.goOn <- struct{}{} },
		finish: func() {
			once.Do(func() {
				c.mu.Lock()
				delete(c.runs, id)
				c.mu.Unlock()
				close(one.ended)
				page.close()
			})
		},
		look: func() string { return page.evaluate("document.visibilityState + JSON.stringify(globalThis.labReport)") },
	}, nil
}

// slots bound how many do something at a time.
type slots chan struct{}

// What takes the machine's time: starting a client, and its way to the first
// message, whose time is to be its own.
var loading, connecting = make(slots, 4), make(slots, 2)

func (s slots) take(ctx context.Context) (release func(), err error) {
	select {
	case s <- struct{}{}:
		var once sync.Once
		return func() { once.Do(func() { <-s }) }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// elapsed turns a client's milliseconds into a duration.
func elapsed(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
