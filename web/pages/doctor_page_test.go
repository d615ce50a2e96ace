package pages_test

import (
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
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
