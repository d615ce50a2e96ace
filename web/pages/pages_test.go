package pages_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport"
	serve "github.com/culvertd/culvert/transport/pages"
	"github.com/culvertd/culvert/transport/servertest"
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
	own, err := serve.New(serve.Set{Files: web.Files(), Shared: true}, serve.Set{Files: pages.Files()})
	if err != nil {
		t.Fatal(err)
	}
	return servertest.Start(t, servertest.Options{
		Store:  memory.Options{HistoryMessages: 20},
		Hub:    hub.Options{LogMessages: 20},
		Engine: transport.Options{Pages: own.Serve},
	}).Server
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

// TestLooks: no page scrolls sideways, dark is dark, and all text can be read.
func TestLooks(t *testing.T) {
	needtest.Time(t, "it starts a browser")
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
	const texts = Array.from(document.querySelectorAll("body *")).filter((e) => e.getClientRects().length && e.textContent.trim());
	const faded = texts.filter((e) => getComputedStyle(e).opacity < 1 && !e.matches("input")).map((e) => e.textContent.trim()).join(", ");
	const cut = texts.filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX != "visible" && !e.matches(".hidden, .skip")).map((e) => e.tagName + "#" + e.id).join(", ");
	const orphans = Array.from(document.querySelectorAll("li")).filter((e) => e.parentElement.hasAttribute("role")).length;
	return { edge, orphans, faded, cut, scroll: document.documentElement.scrollWidth, inner: innerWidth, contrast, worst, dark: light(getComputedStyle(document.body).backgroundColor) < 0.2 };
})()`

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
