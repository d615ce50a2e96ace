//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// firefox is a headless Firefox, driven by WebDriver BiDi. Each page opened in
// it has a user context of its own: storage and cookies.
type firefox struct{ *remote }

// firefoxPrefs: it asks nobody but the lab, timers keep their pace in pages that
// nobody looks at, and many pages may talk to one address.
var firefoxPrefs = map[string]any{
	"app.normandy.enabled": false, "browser.safebrowsing.update.enabled": false, "browser.shell.checkDefaultBrowser": false,
	"datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false,
	"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
	"services.settings.server": "data:,", "toolkit.telemetry.enabled": false,
	"dom.min_background_timeout_value": 4, "dom.timeout.enable_budget_timer_throttling": false,
	"network.http.max-persistent-connections-per-server": 60,
}

var bidiAt = regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`)

func startFirefox(t testing.TB) *firefox {
	t.Helper()
	dir := directory(t)
	profile := filepath.Join(dir, "profile")
	var prefs strings.Builder
	for name, value := range firefoxPrefs {
		v, _ := json.Marshal(value)
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, v)
	}
	if err := os.Mkdir(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, program(t, "firefox-esr"), "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0", "about:blank")
	var at []string
	for deadline := time.Now().Add(90 * time.Second); at == nil; time.Sleep(50 * time.Millisecond) {
		at = bidiAt.FindStringSubmatch(p.words())
		if time.Now().After(deadline) {
			t.Fatal("firefox does not start: " + p.words())
		}
	}
	f := &firefox{connect(t, at[1]+"/session")}
	if err := f.call("session.new", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"acceptInsecureCerts": true, // the lab's own certificate
	}}}, nil); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *firefox) name() string { return "firefox" }

func (f *firefox) open(address string, proxy *url.URL) (tab, error) {
	if proxy != nil {
		return nil, errors.New("the lab tells Firefox of no proxies")
	}
	p := &firefoxPage{firefox: f}
	var made struct{ UserContext, Context string }
	if err := f.call("browser.createUserContext", map[string]any{}, &made); err != nil {
		return nil, err
	}
	p.user = made.UserContext
	if err := f.call("browsingContext.create", map[string]any{"type": "window", "userContext": p.user}, &made); err != nil {
		p.close()
		return nil, err
	}
	p.context = made.Context
	if err := f.call("browsingContext.navigate", map[string]any{"context": p.context, "url": address, "wait": "none"}, nil); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

type firefoxPage struct {
	firefox       *firefox
	user, context string
}

func (p *firefoxPage) close() {
	_ = p.firefox.call("browser.removeUserContext", map[string]any{"userContext": p.user}, nil)
}

func (p *firefoxPage) evaluate(expression string) string {
	var said struct{ Result struct{ Value any } }
	if err := p.firefox.call("script.evaluate", map[string]any{"expression": expression, "target": map[string]any{"context": p.context}, "awaitPromise": false}, &said); err != nil {
		return err.Error()
	}
	return fmt.Sprint(said.Result.Value)
}
