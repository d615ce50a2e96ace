package pages_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/gorilla/websocket"
)

// browser is a headless Chromium, driven by its debugging protocol.
type browser struct {
	conn *websocket.Conn

	mu      sync.Mutex
	last    int                // guarded by mu
	waiting map[int]chan reply // guarded by mu; by id of the command
	tabs    map[string]*tab    // guarded by mu; by session
}

type reply struct {
	result json.RawMessage
	err    error
}

// tab is a page in a context of its own, or of another tab.
type tab struct {
	t       testing.TB
	b       *browser
	session string
	context string

	mu sync.Mutex
	// guarded by mu: what went wrong, and which addresses were asked for
	complaints []string
	requests   []string
}

// patience is for one thing to happen in a browser on a busy machine.
const patience = 60 * time.Second

func startBrowser(t *testing.T) *browser {
	t.Helper()
	program := needtest.Program(t, "chromium")
	dir, err := os.MkdirTemp("", "culvert-pages-")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--remote-debugging-port=0", "--user-data-dir="+dir, "about:blank")
	c.Env = append(os.Environ(), "HOME="+dir)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		// What it has started may write for a moment yet.
		for range 50 {
			if os.RemoveAll(dir) == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	var address string
	for deadline := time.Now().Add(patience); address == ""; time.Sleep(50 * time.Millisecond) { // it tells by a file
		text, err := os.ReadFile(filepath.Join(dir, "DevToolsActivePort"))
		if lines := strings.Fields(string(text)); err == nil && len(lines) == 2 {
			address = "ws://127.0.0.1:" + lines[0] + lines[1]
		}
		if time.Now().After(deadline) {
			t.Fatal("chromium does not start")
		}
	}
	conn, _, err := websocket.DefaultDialer.Dial(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{conn: conn, waiting: map[int]chan reply{}, tabs: map[string]*tab{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.listen()
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return b
}

// listen hands out replies, and notes what pages complain of.
func (b *browser) listen() {
	for {
		var m struct {
			ID        int
			Method    string
			SessionID string
			Params    json.RawMessage
			Result    json.RawMessage
			Error     *struct{ Message string }
		}
		err := b.conn.ReadJSON(&m)
		b.mu.Lock()
		if err != nil {
			for _, c := range b.waiting {
				c <- reply{err: err}
			}
			b.waiting = nil
			b.mu.Unlock()
			return
		}
		c, tab := b.waiting[m.ID], b.tabs[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case c != nil && m.Error != nil:
			c <- reply{err: errors.New(m.Error.Message)}
		case c != nil:
			c <- reply{result: m.Result}
		case tab != nil:
			tab.note(m.Method, m.Params)
		}
	}
}

func (b *browser) call(session, method string, params, result any) error {
	b.mu.Lock()
	if b.waiting == nil {
		b.mu.Unlock()
		return errors.New("chromium is gone")
	}
	b.last++
	c := make(chan reply, 1)
	b.waiting[b.last] = c
	command := map[string]any{"id": b.last, "method": method, "params": params}
	if session != "" {
		command["sessionId"] = session
	}
	err := b.conn.WriteJSON(command)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case r := <-c:
		if r.err != nil || result == nil {
			return r.err
		}
		return json.Unmarshal(r.result, result)
	case <-time.After(patience):
		return fmt.Errorf("chromium does not answer to %s", method)
	}
}

// window is how a page is shown.
type window struct {
	width, height int
	dark          bool
}

var desktop = window{width: 1280, height: 900}

// open opens a page; beside is a tab whose storage and connections it shares.
func (b *browser) open(t testing.TB, address string, w window, beside *tab) *tab {
	t.Helper()
	x := &tab{t: t, b: b}
	if beside != nil {
		x.context = beside.context
	} else {
		var context struct{ BrowserContextID string }
		if err := b.call("", "Target.createBrowserContext", map[string]any{}, &context); err != nil {
			t.Fatal(err)
		}
		x.context = context.BrowserContextID
	}
	var target struct{ TargetID string }
	if err := b.call("", "Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": x.context}, &target); err != nil {
		t.Fatal(err)
	}
	var attached struct{ SessionID string }
	if err := b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		t.Fatal(err)
	}
	x.session = attached.SessionID
	b.mu.Lock()
	b.tabs[x.session] = x
	b.mu.Unlock()
	t.Cleanup(func() { _ = b.call("", "Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil) })
	scheme := "light"
	if w.dark {
		scheme = "dark"
	}
	for _, c := range []struct {
		method string
		params map[string]any
	}{
		{"Page.enable", nil}, {"Runtime.enable", nil}, {"Network.enable", nil}, {"Log.enable", nil},
		{"Emulation.setDeviceMetricsOverride", map[string]any{"width": w.width, "height": w.height, "deviceScaleFactor": 1, "mobile": w.width < 500}},
		{"Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}},
		{"Page.navigate", map[string]any{"url": address}},
	} {
		if c.params == nil {
			c.params = map[string]any{}
		}
		if err := b.call(x.session, c.method, c.params, nil); err != nil {
			t.Fatalf("%s: %v", c.method, err)
		}
	}
	return x
}

// note keeps what a page must not do, and what it asks for.
func (x *tab) note(method string, params json.RawMessage) {
	var p struct {
		Type             string
		Args             []struct{ Value any }
		Entry            struct{ Level, Source, Text, URL string }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
		Request struct{ URL string }
		URL     string
	}
	if json.Unmarshal(params, &p) != nil {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch method {
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			x.complaints = append(x.complaints, fmt.Sprintf("console %s: %v", p.Type, p.Args))
		}
	case "Runtime.exceptionThrown":
		x.complaints = append(x.complaints, p.ExceptionDetails.Text+" "+p.ExceptionDetails.Exception.Description)
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Source == "security" {
			x.complaints = append(x.complaints, fmt.Sprintf("%s: %s (%s)", p.Entry.Source, p.Entry.Text, p.Entry.URL))
		}
	case "Network.requestWillBeSent":
		x.requests = append(x.requests, p.Request.URL)
	case "Network.webSocketCreated":
		x.requests = append(x.requests, p.URL)
	}
}

// run evaluates an expression in the page; it may be a promise.
func (x *tab) run(expression string, result any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	params := map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}
	if err := x.b.call(x.session, "Runtime.evaluate", params, &r); err != nil {
		return err
	}
	if e := r.ExceptionDetails; e != nil {
		return fmt.Errorf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	if result == nil || len(r.Result.Value) == 0 {
		return nil
	}
	return json.Unmarshal(r.Result.Value, result)
}

// do runs what must not fail.
func (x *tab) do(expression string) {
	x.t.Helper()
	if err := x.run(expression, nil); err != nil {
		x.t.Fatal(err)
	}
}

// until waits for an expression to be true.
func (x *tab) until(expression string) {
	x.t.Helper()
	x.untilFor(patience, expression)
}

func (x *tab) untilFor(patience time.Duration, expression string) {
	x.t.Helper()
	deadline := time.Now().Add(patience)
	var err error
	for time.Now().Before(deadline) {
		var ok bool
		// The page may not be there yet.
		if err = x.run("!!("+expression+")", &ok); err == nil && ok {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	var text string
	_ = x.run("document.body.innerText", &text)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.t.Fatalf("it does not become true: %s (%v)\n%s\nasked: %q\ncomplaints: %q", expression, err, text, x.requests, x.complaints)
}

// text is the text of the first element that fits.
func (x *tab) text(selector string) string {
	x.t.Helper()
	var text string
	if err := x.run("document.querySelector("+quote(selector)+").innerText", &text); err != nil {
		x.t.Fatal(err)
	}
	return text
}

func quote(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// press presses a key, as a keyboard would.
func (x *tab) press(keys ...string) {
	x.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, " ": 32}
	for _, key := range keys {
		for _, kind := range []string{"keyDown", "keyUp"} {
			params := map[string]any{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
			if kind == "keyDown" && (key == "Enter" || key == " ") {
				params["text"] = map[string]string{"Enter": "\r", " ": " "}[key]
			}
			if err := x.b.call(x.session, "Input.dispatchKeyEvent", params, nil); err != nil {
				x.t.Fatal(err)
			}
		}
	}
}

// write types a text where the focus is.
func (x *tab) write(text string) {
	x.t.Helper()
	if err := x.b.call(x.session, "Input.insertText", map[string]any{"text": text}, nil); err != nil {
		x.t.Fatal(err)
	}
}

// clean checks that nothing went wrong in the page, apart from what the test
// expects, and that it asked its own server only.
func (x *tab) clean(server string, expected ...string) {
	x.t.Helper()
	own, err := url.Parse(server)
	if err != nil {
		x.t.Fatal(err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.complaints {
		known := false
		for _, e := range expected {
			known = known || strings.Contains(c, e)
		}
		if !known {
			x.t.Errorf("the page complains: %s", c)
		}
	}
	for _, r := range x.requests {
		if u, err := url.Parse(r); err != nil || u.Host != own.Host {
			x.t.Errorf("the page asks elsewhere: %s", r)
		}
	}
}

// picture keeps what the page looks like, where PAGES_PICTURES names a folder.
func (x *tab) picture(name string) {
	x.t.Helper()
	dir := os.Getenv("PAGES_PICTURES")
	if dir == "" {
		return
	}
	var shot struct{ Data []byte }
	if err := x.b.call(x.session, "Page.captureScreenshot", map[string]any{"format": "png"}, &shot); err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, strings.NewReplacer(" ", "-", "/", "-").Replace(name)+".png"), shot.Data, 0o644); err != nil {
		x.t.Fatal(err)
	}
}
