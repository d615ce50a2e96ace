//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// browser is a headless Chromium, driven by its debugging protocol. Each page
// opened in it has a context of its own: storage, connections and proxy.
type browser struct{ *remote }

func (b *browser) name() string { return "chromium" }

// remote carries out commands in a browser. The debugging protocols of Chromium
// and of Firefox are of one form.
type remote struct {
	conn *websocket.Conn

	mu      sync.Mutex
	last    int                 // guarded by mu
	waiting map[int]chan answer // guarded by mu; by id of the command
	gone    error               // guarded by mu; why the connection ended
}

type answer struct {
	Result json.RawMessage
	Err    error
}

// connect begins to talk to the browser at address, until the end of the test.
func connect(t testing.TB, address string) *remote {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &remote{conn: c, waiting: map[int]chan answer{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.listen()
	}()
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return r
}

func startBrowser(t testing.TB) *browser {
	t.Helper()
	dir := directory(t)
	profile := filepath.Join(dir, "profile")
	// Timers keep their pace in pages that nobody looks at; a window's own pages,
	// which cost as much as ours, are left out.
	p := start(t, dir, program(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-port=0", "--user-data-dir="+profile, "--no-first-run", "--no-default-browser-check",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
		"--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup", "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--ignore-certificate-errors", "--metrics-recording-only", "--mute-audio", "about:blank")
	var address string
	for deadline := time.Now().Add(60 * time.Second); address == ""; time.Sleep(50 * time.Millisecond) {
		text, err := os.ReadFile(filepath.Join(profile, "DevToolsActivePort"))
		if lines := strings.Fields(string(text)); err == nil && len(lines) == 2 {
			address = "ws://127.0.0.1:" + lines[0] + lines[1]
		}
		if time.Now().After(deadline) {
			t.Fatal("chromium does not start: " + p.words())
		}
	}
	return &browser{connect(t, address)}
}

func (r *remote) listen() {
	for {
		var m struct {
			ID      int
			Result  json.RawMessage
			Message string
			Error   json.RawMessage // Chromium's is an object, Firefox' the name of it
		}
		err := r.conn.ReadJSON(&m)
		r.mu.Lock()
		if err != nil {
			r.gone = err
			for _, c := range r.waiting {
				c <- answer{Err: err}
			}
			r.waiting = nil
			r.mu.Unlock()
			return
		}
		c := r.waiting[m.ID]
		delete(r.waiting, m.ID)
		r.mu.Unlock()
		if c != nil {
			a := answer{Result: m.Result}
			if m.Error != nil {
				a.Err = fmt.Errorf("%s %s", m.Error, m.Message)
			}
			c <- a
		}
	}
}

// call carries out a command of the debugging protocol.
func (r *remote) call(method string, params any, result any) error {
	return r.callIn("", method, params, result)
}

// callIn is call in a session, "" for the browser itself.
func (r *remote) callIn(session, method string, params any, result any) error {
	r.mu.Lock()
	if r.gone != nil {
		defer r.mu.Unlock()
		return r.gone
	}
	r.last++
	c := make(chan answer, 1)
	r.waiting[r.last] = c
	command := map[string]any{"id": r.last, "method": method, "params": params}
	if session != "" {
		command["sessionId"] = session
	}
	err := r.conn.WriteJSON(command)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-c:
		if a.Err != nil || result == nil {
			return a.Err
		}
		return json.Unmarshal(a.Result, result)
	case <-time.After(30 * time.Second):
		return fmt.Errorf("the browser does not answer to %s", method)
	}
}

// tab is a page that is open.
type tab interface {
	close()
	// evaluate says what an expression is in the page, in words.
	evaluate(expression string) string
}

// page is one in Chromium.
type page struct {
	browser         *browser
	context, target string
}

func (p *page) close() {
	_ = p.browser.call("Target.disposeBrowserContext", map[string]any{"browserContextId": p.context}, nil)
}

func (p *page) evaluate(expression string) string {
	var session struct{ SessionID string }
	if err := p.browser.call("Target.attachToTarget", map[string]any{"targetId": p.target, "flatten": true}, &session); err != nil {
		return err.Error()
	}
	var said struct {
		Result struct{ Value any }
	}
	if err := p.browser.callIn(session.SessionID, "Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &said); err != nil {
		return err.Error()
	}
	return fmt.Sprint(said.Result.Value)
}

// open opens a page in a context of its own; proxy is nil for none.
func (b *browser) open(address string, proxy *url.URL) (tab, error) {
	params := map[string]any{"disposeOnDetach": true}
	if proxy != nil {
		// "<-loopback>" sends loopback addresses through the proxy as well; the
		// lab's own page must not go there.
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		params["proxyServer"], params["proxyBypassList"] = proxy.Host, "<-loopback>;"+u.Host
	}
	var c struct{ BrowserContextID string }
	if err := b.call("Target.createBrowserContext", params, &c); err != nil {
		return nil, err
	}
	p := &page{browser: b, context: c.BrowserContextID}
	var target struct{ TargetID string }
	if err := b.call("Target.createTarget", map[string]any{"url": address, "browserContextId": p.context}, &target); err != nil {
		p.close()
		return nil, err
	}
	p.target = target.TargetID
	return p, nil
}
