package pages_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
)

// TestDoctorPageFails: where a browser, or something added to it, does not do
// what a test needs, the page says so, and keeps what the other tests found.
func TestDoctorPageFails(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	b := startBrowser(t)
	server := start(t)
	for _, tt := range []struct{ name, script, code, verdict, report string }{
		{"no WebSocket", `WebSocket = function () { throw new Error("blocked by an extension") }`, "not_made",
			"over a stream (GET event-stream). Not everything could be tested.", "skipped WebSocket handshake             could not be made: blocked by an extension"},
		{"a WebSocket that cannot send", `WebSocket.prototype.send = function () { throw new Error("blocked by an extension") }`, "not_made",
			"Not everything could be tested.", "skipped First frames                    could not be made: blocked by an extension"},
		{"no requests", `AbortController = undefined`, "not_made", "Whether Culvert works here could not be tested.", "skipped Plain request                   could not be made: AbortController is not a constructor"},
		{"a document that fails", `document.querySelector("#tests").append = () => { throw new Error("blocked by an extension") }`, "not_made", "The tests broke off before their end.", "Not tested: what is not listed."},
		{"what waits fails", `{ const next = WebSocket.prototype.send; WebSocket.prototype.send = function (text) { if (this.url.includes("heartbeat=60")) throw new Error("blocked by an extension"); next.call(this, text) } }`, "not_made",
			"Not everything could be tested.", "skipped WebSocket in use                could not be made: blocked by an extension"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := b.open(t, server.URL+"/doctor?idle=1&wait=1&patience=3", desktop, nil)
			x.until(`document.readyState == "complete" && document.querySelector("#url").textContent != "URL"`)
			x.do(tt.script)
			x.do(`document.querySelector("#start").click()`)
			x.untilFor(time.Minute, `document.body.dataset.done == "1"`)
			report := x.text("#report")
			if verdict := x.text("#verdict"); !strings.Contains(verdict, tt.verdict) || !strings.Contains(strings.Join(strings.Fields(report), " "), verdict) {
				t.Errorf("the verdict is %q, want %q", verdict, tt.verdict)
			}
			if !strings.Contains(report, tt.report) {
				t.Errorf("the report has no %q:\n%s", tt.report, report)
			}
			x.until(`document.querySelector("#findings [data-code=` + tt.code + `] .level").textContent == "not tested"`)
			x.until(`document.querySelector("#start").textContent == "Test again" && !document.querySelector("#start").hasAttribute("aria-disabled") && document.querySelector("#now").textContent == ""`)
		})
	}
}

// TestDoctorBehindLogin: what lets in those who have logged in, and knows them by
// a cookie, lets the page's tests in as it does the client's requests.
func TestDoctorBehindLogin(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	b := startBrowser(t)
	to, err := url.Parse(start(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	culvert := httputil.NewSingleHostReverseProxy(to)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("session"); err == nil && cookie.Value == "known" {
			culvert.ServeHTTP(w, r)
		} else {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "known", Path: "/", HttpOnly: true})
			http.Error(w, "log in", http.StatusUnauthorized)
		}
	}))
	t.Cleanup(gateway.Close)
	x := b.open(t, gateway.URL+"/login", desktop, nil)
	x.until(`document.body && document.body.textContent.includes("log in")`)
	x.do(`location = "/doctor?idle=1&wait=1&patience=3"`)
	x.until(`document.readyState == "complete" && document.querySelector("#url") && document.querySelector("#url").textContent != "URL"`)
	x.do(`document.querySelector("#start").click()`)
	x.untilFor(time.Minute, `document.body.dataset.done == "1"`)
	if verdict := x.text("#verdict"); !strings.Contains(verdict, "WebSocket") || strings.Contains(verdict, "could not") {
		t.Errorf("the verdict is %q:\n%s", verdict, x.text("#report"))
	}
}

// TestDoctorLooks: what the page shows while it tests and afterwards can be read
// and reached on a phone, and nothing of it is cut off.
func TestDoctorLooks(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	b := startBrowser(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(start(t).URL, "http://"), Options: middlebox.Options{
		Upgrade: middlebox.UpgradeStrip, Strip: []string{"Authorization"}, Methods: []string{"GET", "HEAD"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	for _, w := range []window{{390, 844, true}, {390, 844, false}, {1280, 900, true}} {
		t.Run(fmt.Sprintf("%d %v", w.width, w.dark), func(t *testing.T) {
			x := b.open(t, box.URL()+"/doctor?idle=2&wait=3&patience=3", w, nil)
			x.until(`document.readyState == "complete" && document.querySelector("#url").textContent != "URL"`)
			x.do(`document.querySelector("#start").focus()`)
			x.press("Enter")
			x.until(`document.querySelector("#test-waiting.running")`)
			x.readable("while it tests")
			x.untilFor(time.Minute, `document.body.dataset.done == "1"`)
			x.readable("afterwards")
			x.picture(fmt.Sprintf("looks-doctor-done-%d-%v", w.width, w.dark))
			x.until(`document.activeElement.id == "verdict"`)
			for _, id := range []string{"copy", "report"} {
				x.press("Tab")
				x.until(`document.activeElement.id == "` + id + `" && getComputedStyle(document.activeElement).outlineStyle == "solid"`)
			}
			if verdict := x.text("#verdict"); !strings.HasSuffix(verdict, "Nothing can be published: neither POST nor a WebSocket gets through.") {
				t.Errorf("the verdict is %q", verdict)
			}
			// A skipped test says why.
			x.until(`Array.from(document.querySelectorAll("#tests .skipped .words")).every((e) => e.textContent)`)
		})
	}
}

// readable looks whether all text can be read, and nothing sticks out.
func (x *tab) readable(when string) {
	x.t.Helper()
	var got struct {
		Scroll, Inner int
		Contrast      float64
		Worst         string
		Faded, Cut    string
	}
	if err := x.run(looks, &got); err != nil {
		x.t.Fatal(err)
	}
	if got.Scroll > got.Inner || got.Cut != "" {
		x.t.Errorf("%s: %d wide in a window of %d; cut off: %q", when, got.Scroll, got.Inner, got.Cut)
	}
	if got.Contrast < 4.5 || got.Faded != "" {
		x.t.Errorf("%s: %q has a contrast of %.2f; faded: %q", when, got.Worst, got.Contrast, got.Faded)
	}
}
