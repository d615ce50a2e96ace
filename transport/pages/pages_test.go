package pages

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func some(t *testing.T) *Pages {
	t.Helper()
	p, err := New(Set{Shared: true, Files: fstest.MapFS{
		"culvert.js":     {Data: []byte(strings.Repeat("export {};\n", 100))},
		"culvert.js.map": {Data: []byte("{}")},
		"culvert.d.ts":   {Data: []byte("export {};")},
	}}, Set{Files: fstest.MapFS{
		"index.html":      {Data: []byte("<!doctype html>" + strings.Repeat("home ", 200))},
		"doctor.html":     {Data: []byte("<!doctype html>doctor")},
		"pages/style.css": {Data: []byte("body{}")},
		"embed.go":        {Data: []byte("package dist")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	program = "*/*"
)

func TestServe(t *testing.T) {
	p := some(t)
	for _, tt := range []struct {
		path, accept string
		status       int // 0: not served
		kind         string
	}{
		{"/", browser, 200, "text/html; charset=utf-8"},
		{"/", program, 0, ""},
		{"/", "", 200, "text/html; charset=utf-8"},
		{"/doctor", "", 200, "text/html; charset=utf-8"},
		{"/", "text/html;q=0, */*", 0, ""},
		{"/doctor", browser, 200, "text/html; charset=utf-8"},
		{"/doctor", "application/json", 0, ""},
		{"/doctor/?a=b", browser, 308, ""},
		{"/doctor/", program, 0, ""},
		{"/culvert.js", program, 200, "text/javascript; charset=utf-8"},
		{"/culvert.js/", browser, 0, ""},
		{"/culvert.js.map", program, 200, "application/json"},
		{"/culvert.d.ts", program, 200, "text/plain; charset=utf-8"},
		{"/pages/style.css", "text/css", 200, "text/css; charset=utf-8"},
		{"/pages", browser, 0, ""},
		{"/pages/", browser, 0, ""},
		{"/index.html", browser, 0, ""},
		{"/embed.go", browser, 0, ""},
		{"/../pages.go", browser, 0, ""},
		{"/nothing", browser, 0, ""},
		{"//", browser, 0, ""},
		{"//evil.test/", browser, 0, ""},
	} {
		r := httptest.NewRequest("GET", "http://culvert.test/", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(tt.path, "?")
		if tt.accept != "" {
			r.Header.Set("Accept", tt.accept)
		}
		w := httptest.NewRecorder()
		served := p.Serve(w, r)
		if served != (tt.status != 0) || served && (w.Code != tt.status || w.Header().Get("Content-Type") != tt.kind) {
			t.Errorf("%s, Accept %q: served %v, %d %q", tt.path, tt.accept, served, w.Code, w.Header().Get("Content-Type"))
		}
		if !served && (len(w.Header()) > 0 || w.Body.Len() > 0) {
			t.Errorf("%s: not served, and yet something was written: %v", tt.path, w.Header())
		}
		if tt.status == 308 && w.Header().Get("Location") != "../doctor?a=b" {
			t.Errorf("%s leads to %q", tt.path, w.Header().Get("Location"))
		}
	}
}

func TestPolicy(t *testing.T) {
	p := some(t)
	for host, want := range map[string]string{
		"culvert.test:8080": "connect-src 'self' ws://culvert.test:8080 wss://culvert.test:8080;",
		"[::1]:8080":        "connect-src 'self' ws://[::1]:8080 wss://[::1]:8080;",
		"a; script-src *":   "connect-src 'self';",
		"":                  "connect-src 'self';",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		r.Header.Set("Accept", browser)
		w := httptest.NewRecorder()
		p.Serve(w, r)
		got := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(got, want) || !strings.Contains(got, "script-src 'self';") || strings.Contains(got, "unsafe") {
			t.Errorf("host %q: %s", host, got)
		}
	}
}

// TestShared: scripts for everybody's pages can be read by them and are kept for
// a while; the pages' own are not, and are asked for every time.
func TestShared(t *testing.T) {
	p := some(t)
	for target, shared := range map[string]bool{"/culvert.js": true, "/culvert.js.map": true, "/culvert.d.ts": true, "/": false, "/doctor": false, "/pages/style.css": false} {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Accept", browser)
		w := httptest.NewRecorder()
		p.Serve(w, r)
		h := w.Header()
		want := [3]string{"no-cache", "", ""}
		if shared {
			want = [3]string{"public, max-age=300", "*", "cross-origin"}
		}
		if got := [3]string{h.Get("Cache-Control"), h.Get("Access-Control-Allow-Origin"), h.Get("Cross-Origin-Resource-Policy")}; w.Code != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, got, want)
		}
		if html := h.Get("Content-Security-Policy") != ""; html != (target == "/" || target == "/doctor") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, h)
		}
	}
	if _, err := New(Set{Files: os.DirFS("/nowhere")}); err == nil {
		t.Error("files that cannot be read are accepted")
	}
}

func TestCompressedAndUnchanged(t *testing.T) {
	p := some(t)
	ask := func(method string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/culvert.js", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		if !p.Serve(w, r) {
			t.Fatal("not served")
		}
		return w
	}
	plain := ask("GET")
	if plain.Header().Get("Content-Encoding") != "" || plain.Body.Len() != 1100 {
		t.Errorf("plain: %v, %d bytes", plain.Header(), plain.Body.Len())
	}
	packed := ask("GET", "Accept-Encoding", "br, gzip;q=0.8")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != plain.Body.String() {
		t.Errorf("%v: the compressed form is another text", err)
	}
	if ask("GET", "Accept-Encoding", "*").Header().Get("Content-Encoding") != "gzip" {
		t.Error("no gzip for a client that takes anything")
	}
	if got := ask("GET", "Accept-Encoding", "gzip;q=0"); got.Header().Get("Content-Encoding") != "" {
		t.Error("gzip for a client that refuses it")
	}
	tag, packedTag := plain.Header().Get("ETag"), packed.Header().Get("ETag")
	if tag == packedTag {
		t.Error("two forms have one tag")
	}
	for headers, want := range map[[4]string]int{
		{"If-None-Match", tag, "Accept-Encoding", ""}:                 304,
		{"If-None-Match", "\"x\", W/" + tag, "Accept-Encoding", ""}:   304,
		{"If-None-Match", packedTag, "Accept-Encoding", "gzip"}:       304,
		{"If-None-Match", tag, "Accept-Encoding", "gzip"}:             200,
		{"If-None-Match", "\"other\"", "Accept-Encoding", "identity"}: 200,
	} {
		w := ask("GET", headers[:]...)
		if w.Code != want || want == 304 && w.Body.Len() > 0 {
			t.Errorf("%v: %d, %d bytes", headers, w.Code, w.Body.Len())
		}
	}
	if head := ask("HEAD"); head.Body.Len() != 0 || head.Header().Get("Content-Length") != "1100" {
		t.Errorf("HEAD: %v, %d bytes", head.Header(), head.Body.Len())
	}
}
