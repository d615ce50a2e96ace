package pages_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/middlebox"
	serve "github.com/culvertd/culvert/transport/pages"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
	"github.com/culvertd/culvert/web"
	"github.com/culvertd/culvert/web/internal/build"
	"github.com/culvertd/culvert/web/pages"
)

// TestMain lets many rows run at the same time, which mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if f := flag.Lookup("test.parallel"); f != nil && !given {
		_ = f.Value.Set("10")
	}
	os.Exit(m.Run())
}

// TestBuiltFilesAreCurrent: what is in the tree is what go generate makes of
// the sources.
func TestBuiltFilesAreCurrent(t *testing.T) {
	want, err := build.Pages("src")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string][]byte{}
	err = fs.WalkDir(pages.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		have[name], err = fs.ReadFile(pages.Files(), name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range have {
		if want[name] == nil {
			t.Errorf("dist/%s is not built any more", name)
		}
	}
	for name, text := range want {
		if !bytes.Equal(have[name], text) {
			t.Errorf("dist/%s is not current: run go generate ./web", name)
		}
	}
}

// TestNothingInline: the policy under which the pages are served allows no
// script and no style in them, and nothing from elsewhere.
func TestNothingInline(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<style|style=|<script[^>]*>[^<]|\son\w+=|javascript:|https?://[a-z]`)
	for _, name := range []string{"index.html", "doctor.html"} {
		text, err := fs.ReadFile(pages.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range inline.FindAllString(string(text), -1) {
			if found != "http://p" { // an example of a proxy's address
				t.Errorf("%s has %q", name, found)
			}
		}
	}
}

// start starts a whole server, with few messages kept.
func start(t *testing.T) *httptest.Server {
	t.Helper()
	store, err := memory.New(memory.Options{HistoryMessages: 20})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.New(store, hub.Options{Framings: wire.Framings(wire.Options{}), LogMessages: 20})
	if err != nil {
		t.Fatal(err)
	}
	own, err := serve.New(serve.Set{Files: web.Files(), Shared: true}, serve.Set{Files: pages.Files()})
	if err != nil {
		t.Fatal(err)
	}
	sockets, streams := ws.New(ws.Options{Hub: h}), stream.New(stream.Options{Hub: h})
	handler, err := transport.New(h, transport.Transports{WebSocket: sockets, SSE: streams.SSE, NDJSON: streams.NDJSON}, transport.Options{
		Pages: own.Serve,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(func() {
		h.Close()
		server.CloseClientConnections()
		server.Close()
		sockets.Wait()
		streams.Wait()
		store.Close()
	})
	return server
}

func publish(t *testing.T, server *httptest.Server, room, body string) {
	t.Helper()
	resp, err := http.Post(server.URL+"/rooms/"+room, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("publish: %d", resp.StatusCode)
	}
}

const connected = `document.querySelector("#state").textContent.startsWith("Connected")`

func connectedOver(name string) string {
	return `document.querySelector("#state").textContent == "Connected over ` + name + `"`
}

func shows(text string) string {
	return `document.querySelector("#messages").innerText.includes(` + quote(text) + `)`
}

// say publishes a message as a person would, by keyboard.
func (x *tab) say(text string) {
	x.t.Helper()
	x.do(`document.querySelector("#text").focus()`)
	x.write(text)
	x.press("Enter")
}

// order is the numbers of the messages shown.
func (x *tab) order() string {
	x.t.Helper()
	var numbers []string
	if err := x.run(`Array.from(document.querySelectorAll("#messages .offset"), (e) => e.textContent)`, &numbers); err != nil {
		x.t.Fatal(err)
	}
	return strings.Join(numbers, " ")
}

// TestRoom: two windows exchange messages over each transport, and through cuts.
func TestRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	b := startBrowser(t)
	ann := b.open(t, server.URL+"/#lobby", desktop, nil)
	ann.until(connected)
	bob := b.open(t, server.URL+"/?room=lobby", window{width: 390, height: 844}, nil)
	bob.until(connected)
	for _, x := range []*tab{ann, bob} {
		x.until(`document.querySelectorAll("#here li").length == 2`)
	}
	ann.say("hello from Ann")
	bob.until(shows("hello from Ann"))
	bob.say("hello from Bob <b>&amp;</b>")
	ann.until(shows("hello from Bob <b>&amp;</b>"))
	ann.until(`document.querySelector("#published").textContent.includes("Published as number 1")`)
	publish(t, server, "lobby", `[1,{"a":"b"}]`)
	publish(t, server, "lobby", `plain text`)
	ann.until(shows(`[1,{"a":"b"}]`))
	ann.until(shows("plain text"))

	n := 4
	for _, way := range []struct{ value, name string }{{"poll", "long-poll"}, {"sse", "SSE"}, {"websocket", "WebSocket"}} {
		ann.do(`document.querySelector("input[name=transport][value=` + way.value + `]").click()`)
		ann.until(connectedOver(way.name))
		for range 3 {
			n++
			ann.say(fmt.Sprintf("message %d", n))
			bob.until(shows(fmt.Sprintf("message %d", n)))
			n++
			bob.say(fmt.Sprintf("message %d", n))
			ann.until(shows(fmt.Sprintf("message %d", n)))
		}
		ann.do(`document.querySelector("#cut").click()`)
		n++
		publish(t, server, "lobby", fmt.Sprintf(`"message %d"`, n))
		ann.until(shows(fmt.Sprintf("message %d", n)))
		ann.until(connectedOver(way.name))
		if !strings.Contains(ann.text("#log"), "Connected over "+way.name) {
			t.Errorf("the log does not tell of %s:\n%s", way.name, ann.text("#log"))
		}
		ann.picture("room-" + way.value)
	}
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i+1))
	}
	for _, x := range []*tab{ann, bob} {
		if got := x.order(); got != strings.Join(want, " ") {
			t.Errorf("shown are %s, want 1 to %d", got, n)
		}
	}
	bob.picture("room-phone-messages")

	// Another room, by the form and by the address; a bad name is refused.
	ann.do(`document.querySelector("#room").focus()`)
	ann.write("no such/room")
	ann.press("Enter")
	ann.until(`!document.querySelector("#notice").hidden`)
	ann.do(`document.querySelector("#room").value = ""`)
	ann.write("attic")
	ann.press("Enter")
	ann.until(`location.hash == "#attic" && document.querySelector("#name").textContent == "attic" && document.querySelector("#notice").hidden`)
	ann.until(`document.querySelector("#shell").innerText.includes("/rooms/attic'")`)
	bob.do(`location.hash = "attic"`)
	ann.until(`document.querySelectorAll("#here li").length == 2`)
	ann.say("up here")
	bob.until(shows("up here"))
	bob.do(`location.hash = "a%20b"`)
	bob.until(`!document.querySelector("#notice").hidden && document.querySelector("#text").disabled`)
	ann.clean(server.URL)
	bob.clean(server.URL)
}

// TestRoomShowsGaps: messages that are gone are told of.
func TestRoomShowsGaps(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	b := startBrowser(t)
	x := b.open(t, box.URL()+"/", desktop, nil)
	x.until(connected)
	publish(t, server, "lobby", "first")
	x.until(shows("first"))
	if err := box.Set(middlebox.Options{Answer: &middlebox.Answer{Status: 502}}); err != nil {
		t.Fatal(err)
	}
	box.Cut()
	x.until(`!` + connected)
	for i := range 60 {
		publish(t, server, "lobby", fmt.Sprintf("%d", i))
	}
	if err := box.Set(middlebox.Options{}); err != nil {
		t.Fatal(err)
	}
	x.until(`document.querySelector("#messages .gap")`)
	if got := x.text("#messages .gap"); !strings.Contains(got, "40 messages are missing here") {
		t.Errorf("the gap reads %q", got)
	}
	x.until(shows("59"))
	x.picture("room-gap")
	x.clean(box.URL(), "502", "WebSocket", "ERR_")
}

// TestScrolledUp: whoever reads further up stays there, and is told that there
// is more; text that runs from right to left does.
func TestScrolledUp(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	for i := range 20 {
		publish(t, server, "lobby", quote(fmt.Sprintf("line %d", i)+strings.Repeat("\nand more", 5)))
	}
	b := startBrowser(t)
	x := b.open(t, server.URL+"/", window{width: 360, height: 740}, nil)
	x.until(shows("line 19"))
	const end = `document.querySelector("#messages").scrollHeight - document.querySelector("#messages").clientHeight - document.querySelector("#messages").scrollTop < 40`
	x.until(end)
	publish(t, server, "lobby", `"followed"`)
	x.until(shows("followed") + " && " + end)
	x.do(`document.querySelector("#messages").scrollTop = 200`)
	publish(t, server, "lobby", `{"name":"ann","text":"שלום עולם!"}`)
	x.until(`!document.querySelector("#newer").hidden && document.querySelector("#messages").scrollTop == 200`)
	x.picture("room-newer")
	x.do(`document.querySelector("#newer").click()`)
	x.until(end + ` && document.querySelector("#newer").hidden && document.activeElement.id == "messages"`)
	x.until(`getComputedStyle(document.querySelector("#lines li:last-child .body")).direction == "rtl" && getComputedStyle(document.querySelector("#lines li .body")).direction == "ltr"`)
	x.clean(server.URL)
}

// TestShell: the commands on the page work when they are pasted, and go on from
// the place that is shown.
func TestShell(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	for _, name := range []string{"curl", "bash"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	server := start(t)
	const room = "a~b:c@d-e_f.9"
	publish(t, server, room, `"one"`)
	b := startBrowser(t)
	x := b.open(t, server.URL+"/#"+room, desktop, nil)
	x.until(connected + " && " + shows("one"))
	commands := func() (lines []string) {
		if err := x.run(`Array.from(document.querySelectorAll("#shell code"), (e) => e.textContent)`, &lines); err != nil || len(lines) != 4 {
			t.Fatalf("%q (%v)", lines, err)
		}
		return lines
	}
	x.until(`document.querySelector("#shell code").textContent.includes(".1.")`)
	paste := func(line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c := exec.CommandContext(ctx, "bash", "-c", line)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		return string(out)
	}
	lines := commands()
	if out := paste(lines[3]); !strings.Contains(out, `"offset":2`) {
		t.Errorf("%s: %s", lines[3], out)
	}
	x.until(shows("curl hello"))
	for i, want := range map[int]string{0: "hello", 1: "hello", 2: "one"} {
		line := lines[i]
		if i == 0 { // it never ends by itself
			line += " --max-time 2 || [ $? = 28 ]"
		}
		out := paste(line)
		if !strings.Contains(out, want) || i < 2 && strings.Contains(out, `"one"`) {
			t.Errorf("%s: %s", line, out)
		}
	}
	x.until(`document.querySelector("#shell code").textContent.includes(".2.")`)
	x.clean(server.URL)
}

// TestWhy: a person is told why a transport is in use, and that a forced one
// finds no way.
func TestWhy(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://"), Options: middlebox.Options{Upgrade: middlebox.UpgradeRefuse}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	b := startBrowser(t)
	x := b.open(t, box.URL()+"/", window{width: 360, height: 740}, nil)
	x.until(connectedOver("SSE") + ` && document.querySelector("#reason").textContent.startsWith("the WebSocket was refused or broke")`)
	x.until(`document.querySelector("#chip").textContent == "SSE"`)
	x.do(`document.querySelector("input[name=transport][value=websocket]").click()`)
	x.until(`document.querySelector("#state").textContent.startsWith("Out of reach") && document.querySelector("#reason").textContent.endsWith("Automatic may find another way")`)
	x.do(`document.querySelector("input[name=transport][value='']").click()`)
	x.until(connected)
	x.clean(box.URL(), "WebSocket")
}

// TestKeyboard: everything is reached by the keyboard, has a name, and shows
// the focus.
func TestKeyboard(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	b := startBrowser(t)
	x := b.open(t, server.URL+"/", desktop, nil)
	x.until(connected)
	// The way past the beginning leads to the message box, and not to a room of
	// that name.
	x.press("Tab")
	x.until(`document.activeElement.id == "skip"`)
	x.press("Enter")
	x.until(`document.activeElement.id == "text" && document.querySelector("#name").textContent == "lobby"`)
	// Enter in the name goes on to the message, Escape gives a room's name up.
	x.do(`document.querySelector("#me").select(); document.querySelector("#me").focus()`)
	x.write("Zoë Ünsal")
	x.press("Enter")
	x.until(`document.activeElement.id == "text" && document.querySelector("#here").innerText == "Zoe-Unsal (this window)"`)
	x.say("by keyboard")
	x.until(shows("Zoë Ünsal by keyboard"))
	x.do(`document.querySelector("#room").focus()`)
	x.write("a b")
	x.press("Enter")
	x.until(`!document.querySelector("#notice").hidden`)
	x.press("Escape")
	x.until(`document.activeElement.id == "text" && document.querySelector("#notice").hidden && document.querySelector("#room").value == ""`)
	x.do(`document.activeElement.blur()`)
	seen := map[string]bool{}
	for range 34 {
		x.press("Tab")
		var at struct{ ID, Name, Outline string }
		if err := x.run(`(() => {
			const e = document.activeElement, s = getComputedStyle(e.name == "transport" ? e.nextElementSibling : e);
			const name = e.getAttribute("aria-label") || (e.labels && e.labels[0] && e.labels[0].innerText) || e.innerText || "";
			return { id: e == document.body ? "" : e.id || e.name || e.innerText, name: name.trim(), outline: s.outlineStyle };
		})()`, &at); err != nil {
			t.Fatal(err)
		}
		if at.ID == "" { // behind the last one comes the document itself
			continue
		}
		if at.Name == "" || at.Outline == "none" {
			t.Errorf("%q has the name %q and the outline %q", at.ID, at.Name, at.Outline)
		}
		seen[at.ID] = true
	}
	for _, want := range []string{"room", "messages", "me", "text", "transport", "cut", "second", "log"} {
		if !seen[want] {
			t.Errorf("%s is not reached: %v", want, seen)
		}
	}
	x.do(`document.querySelector("input[name=transport]").focus()`)
	x.press("ArrowRight", "ArrowRight", "ArrowRight")
	x.until(connectedOver("long-poll"))
	x.until(`document.querySelector("#reason").textContent.startsWith("as chosen below")`)
	x.do(`document.querySelector("#shell button").click()`)
	x.until(`document.querySelector("#shell button").textContent != "Copy" && document.querySelector("#copied").textContent != ""`)
	var second string
	if err := x.run(`document.querySelector("#second").href`, &second); err != nil || second != server.URL+"/#lobby" {
		t.Errorf("a second window opens %s (%v)", second, err)
	}
	for _, selector := range []string{"[role=log][aria-live=polite]#messages > ol", "[role=status] #state", "#notice[role=alert]", "html[lang]", "main", "nav[aria-label]"} {
		x.until(`document.querySelector(` + quote(selector) + `)`)
	}
	x.clean(server.URL)
}

// TestLooks: no page scrolls sideways, dark is dark, and all text can be read.
func TestLooks(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	server := start(t)
	for i := range 12 {
		publish(t, server, "lobby", fmt.Sprintf(`{"name":"%s","text":"Message %d, %s"}`, []string{"ann", "bob"}[i%2], i, strings.Repeat("word ", i*3)))
	}
	publish(t, server, "lobby", quote(strings.Repeat("long", 80)))
	b := startBrowser(t)
	for _, w := range []window{{1280, 900, false}, {1280, 900, true}, {390, 844, false}, {390, 844, true}, {320, 640, false}, {768, 1024, false}} {
		for path, ready := range map[string]string{"/": connected + " && document.querySelectorAll('#messages .offset').length == 13", "/doctor": `document.querySelector("#url").textContent != "URL"`} {
			name := fmt.Sprintf("look%s-%d-%v", strings.ReplaceAll(path, "/", "-"), w.width, w.dark)
			x := b.open(t, server.URL+path, w, nil)
			x.until(ready)
			var got struct {
				Scroll, Inner int
				Contrast      float64
				Worst         string
				Dark          bool
				Edge          float64
				Orphans       int
			}
			if err := x.run(looks, &got); err != nil {
				t.Fatal(err)
			}
			if got.Scroll > got.Inner {
				t.Errorf("%s is %d wide in a window of %d", name, got.Scroll, got.Inner)
			}
			if got.Dark != w.dark {
				t.Errorf("%s: dark is %v", name, got.Dark)
			}
			if got.Contrast < 4.5 {
				t.Errorf("%s: %q has a contrast of %.2f", name, got.Worst, got.Contrast)
			}
			if got.Edge < 3 {
				t.Errorf("%s: the edge of something to use has a contrast of %.2f", name, got.Edge)
			}
			if got.Orphans > 0 {
				t.Errorf("%s: %d items are in no list", name, got.Orphans)
			}
			x.picture(name)
			x.clean(server.URL)
		}
	}
}

// looks measures a page: its width, the least contrast of text on what is
// behind it, and of the edges of what can be used, and items whose list is
// called something else.
const looks = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => { const [r, g, b] = rgb(c).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; const v = rgb(c); if (v.length < 4 || v[3] > 0) return c; } return "rgb(255,255,255)"; };
	let contrast = 99, worst = "";
	for (const e of document.querySelectorAll("body *")) {
		if (!Array.from(e.childNodes).some((n) => n.nodeType == 3 && n.data.trim()) || !e.getClientRects().length || e.tagName == "NOSCRIPT") continue;
		const a = light(getComputedStyle(e).color), b = light(behind(e));
		const c = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (c < contrast) { contrast = c; worst = e.tagName + " " + e.textContent.trim().slice(0, 40); }
	}
	let edge = 99;
	for (const e of document.querySelectorAll("input:not([type=radio]), button, fieldset span")) {
		if (!e.getClientRects().length) continue;
		const s = getComputedStyle(e), own = light(s.borderTopColor), a = light(s.backgroundColor), b = light(behind(e.parentElement));
		const c = (x, y) => (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
		edge = Math.min(edge, Math.max(c(own, b), c(a, b)));
	}
	const orphans = Array.from(document.querySelectorAll("li")).filter((e) => e.parentElement.hasAttribute("role")).length;
	return { edge, orphans, scroll: document.documentElement.scrollWidth, inner: innerWidth, contrast, worst, dark: light(getComputedStyle(document.body).backgroundColor) < 0.2 };
})()`

// TestDoctorPage: the page names what stands in the way.
func TestDoctorPage(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	b := startBrowser(t)
	const second = time.Second
	for _, tt := range []struct {
		name    string
		o       middlebox.Options
		want    string // codes
		verdict string
	}{
		{"honest", middlebox.Options{}, "clear", "over a WebSocket."},
		{"strips the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeStrip}, "ws_blocked", "over a stream (GET event-stream)"},
		{"swallows the upgrade", middlebox.Options{Upgrade: middlebox.UpgradeSwallow}, "ws_swallowed", "over a stream"},
		{"drops frames", middlebox.Options{Frames: middlebox.FramesDrop}, "ws_silent", "over a stream"},
		{"drops frames later", middlebox.Options{Frames: middlebox.FramesDrop, FramesAfter: 2 * second}, "ws_goes_silent", "over a stream"},
		{"corrupts frames", middlebox.Options{Frames: middlebox.FramesCorrupt}, "ws_broken", "over a stream"},
		{"limits frames", middlebox.Options{MaxFrame: 8000}, "ws_large", "over a stream"},
		{"limits the age of WebSockets", middlebox.Options{WebSocketAge: 3 * second}, "ws_age", "renewed in time"},
		{"ends idle connections", middlebox.Options{IdleTimeout: 2500 * time.Millisecond}, "idle_cut", ""},
		{"forgets idle connections", middlebox.Options{IdleTimeout: 2500 * time.Millisecond, IdleForget: true}, "idle_forgotten", ""},
		{"holds responses, no WebSocket", middlebox.Options{Hold: middlebox.HoldResponse, Upgrade: middlebox.UpgradeRefuse}, "streams_held ws_blocked", "by polling"},
		{"holds bodies", middlebox.Options{Hold: middlebox.HoldBody}, "streams_body_held", ""},
		{"holds event streams of GET", middlebox.Options{Hold: middlebox.HoldResponse, Held: middlebox.GETEventStreams, Upgrade: middlebox.UpgradeStrip}, "streams_differ", "over a stream (POST event-stream)"},
		{"holds first bytes", middlebox.Options{HoldFirst: 6000}, "streams_first", ""},
		{"passes lumps", middlebox.Options{Lumps: 4096}, "streams_lumps", ""},
		{"batches", middlebox.Options{Batch: 800 * time.Millisecond}, "streams_batched", ""},
		{"delays what streams", middlebox.Options{Batch: 230 * time.Millisecond, Held: middlebox.Streams}, "streams_late", ""},
		{"queues", middlebox.Options{}, "queued", "over a WebSocket."},
		{"compresses", middlebox.Options{GzipHold: true}, "streams_compressed", ""},
		{"caps responses", middlebox.Options{CapResponse: 3 * second}, "response_cap", ""},
		{"speaks HTTP/1.0", middlebox.Options{HTTP10: true}, "http10", ""},
		{"loses answers", middlebox.Options{Loss: 0.5, Seed: 1, LossStatus: 502}, "answers_lost", ""},
		{"removes headers", middlebox.Options{Strip: []string{"Authorization", "Idempotency-Key"}}, "headers_stripped", ""},
		{"removes headers of answers", middlebox.Options{StripResponse: []string{"Cache-Control"}}, "response_headers", ""},
		{"blocks methods", middlebox.Options{Methods: []string{"GET", "POST"}}, "methods_blocked", ""},
		{"blocks POST", middlebox.Options{Methods: []string{"GET", "HEAD"}}, "post_blocked methods_blocked", "Publishing needs a WebSocket"},
		{"limits addresses and bodies", middlebox.Options{MaxURL: 1000, MaxBody: 2000}, "url_limit body_limit", ""},
		{"caches", middlebox.Options{Cache: 10 * second}, "cached", ""},
		{"merges", middlebox.Options{Merge: true}, "merged", ""},
		{"repeats POST", middlebox.Options{Repeat: middlebox.RepeatPOST}, "repeated", ""},
		{"is far away", middlebox.Options{Delay: 300 * time.Millisecond}, "slow", ""},
		{"is thin", middlebox.Options{BytesPerSecond: 20_000}, "thin", ""},
		{"is a captive portal", middlebox.Options{Answer: middlebox.CaptivePortal()}, "portal", "cannot be reached"},
		{"is busy", middlebox.Options{Answer: middlebox.Busy(503, second, 4)}, "busy", ""},
		{"changes Host", middlebox.Options{}, "origin", "Publishing needs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			if tt.want == "queued" {
				queues(server)
			}
			box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://")})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(box.Close)
			// The page itself gets through, as it does from a browser's cache.
			behave := func(o middlebox.Options) {
				if err := box.Set(o); err != nil {
					t.Fatal(err)
				}
				box.Cut()
			}
			address := box.URL()
			if tt.want == "origin" {
				address = changesHost(t, server)
			}
			var wrong []string
			for range 3 { // a busy machine can look like a bad network
				behave(middlebox.Options{})
				if wrong = diagnose(t, b, address, func() { behave(tt.o) }, tt.want, tt.verdict, "doctor-"+tt.name); len(wrong) == 0 {
					return
				}
			}
			t.Error(strings.Join(wrong, "\n"))
		})
	}
}

// diagnose opens the page, lets the network misbehave, has the page make its
// tests, and returns what is not as it should be.
func diagnose(t *testing.T, b *browser, address string, misbehave func(), want, verdict, picture string) (wrong []string) {
	t.Helper()
	x := b.open(t, address+"/doctor?idle=4&wait=5&patience=3", desktop, nil)
	x.until(`document.querySelector("#url").textContent != "URL"`)
	misbehave()
	if want == "clear" { // the address can start them, too
		x.do(`location.search += "&run"`)
	} else {
		x.do(`document.querySelector("#start").click()`)
	}
	x.untilFor(3*time.Minute, `document.body.dataset.done == "1"`)
	x.picture(picture)
	var codes []string
	if err := x.run(`Array.from(document.querySelectorAll("#findings > div"), (e) => e.dataset.code)`, &codes); err != nil {
		t.Fatal(err)
	}
	report := x.text("#report")
	x.until(`Array.from(document.querySelectorAll("#findings > div:not(.good)")).every((e) => e.querySelector(".level").textContent)`)
	add := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf(format, args...)+"\n"+report)
	}
	for _, code := range strings.Fields(want) {
		if !slices.Contains(codes, code) {
			add("found are %v, want %s", codes, code)
		}
	}
	if want == "clear" && len(codes) != 1 || want != "clear" && slices.Contains(codes, "clear") {
		add("found are %v, want %s", codes, want)
	}
	if got := x.text("#verdict"); !strings.Contains(got, verdict) || !strings.Contains(strings.Join(strings.Fields(report), " "), got) {
		add("the verdict is %q, want %q", got, verdict)
	}
	if regexp.MustCompile(`\{\w+\}|undefined|NaN`).MatchString(report) {
		add("a value is missing")
	}
	if want == "clear" {
		x.do(`document.querySelector("#copy").click()`)
		x.until(`document.querySelector("#copied").textContent != ""`)
		x.clean(address)
	}
	return wrong
}

// queues makes requests for the same address wait for each other.
func queues(server *httptest.Server) {
	var locks sync.Map
	behind := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lock, _ := locks.LoadOrStore(r.RequestURI, new(sync.Mutex))
		lock.(*sync.Mutex).Lock()
		defer lock.(*sync.Mutex).Unlock()
		behind.ServeHTTP(w, r)
	})
}

// changesHost is a proxy in front of the server that names the server and not
// itself. Its pages' origin is not loopback to the server, as it would not be
// on a network.
func changesHost(t *testing.T, server *httptest.Server) string {
	t.Helper()
	target := strings.TrimPrefix(server.URL, "http://")
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.RequestURI, r.Host = "http", target, "", target
		for name := range r.Header {
			if strings.HasPrefix(name, "Sec-Fetch-") { // browsers send them to secure and local addresses only
				r.Header.Del(name)
			}
		}
		if r.Header.Get("Upgrade") != "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		buffer := make([]byte, 4096)
		for {
			n, err := resp.Body.Read(buffer)
			if n > 0 {
				_, _ = w.Write(buffer[:n])
				_ = http.NewResponseController(w).Flush()
			}
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestFindings: they can be read.
func TestFindings(t *testing.T) {
	var words map[string]struct{ Level, Network, Culvert string }
	if err := json.Unmarshal(pages.Findings, &words); err != nil {
		t.Fatal(err)
	}
	if len(words) < 40 {
		t.Errorf("%d findings", len(words))
	}
}
