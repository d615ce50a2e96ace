package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culvertd/culvert/web"
	"github.com/culvertd/culvert/web/internal/build"
)

// TestBuiltFilesAreCurrent: what is in the tree is what go generate makes of
// the sources.
func TestBuiltFilesAreCurrent(t *testing.T) {
	want, err := build.Files("src")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("dist")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if want[entry.Name()] == nil {
			t.Errorf("dist/%s is not built any more", entry.Name())
		}
	}
	for name, text := range want {
		have, err := os.ReadFile(filepath.Join("dist", name))
		if err != nil || !bytes.Equal(have, text) {
			t.Errorf("dist/%s is not current (%v): run go generate ./web", name, err)
		}
	}
}

func TestHandler(t *testing.T) {
	handler := web.Handler()
	get := func(method, path string, header ...string) *http.Response {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result()
	}
	paths := web.Paths()
	for _, path := range []string{"/culvert.js", "/culvert.js.map", "/culvert.global.js", "/culvert.legacy.js", "/culvert.d.ts"} {
		if !slices.Contains(paths, path) {
			t.Errorf("%s is not there", path)
		}
	}
	for _, path := range paths {
		text, err := os.ReadFile("dist" + path)
		if err != nil {
			t.Fatal(err)
		}
		res := get("GET", path)
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != 200 || !bytes.Equal(body, text) || res.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %v, %d bytes", path, res, len(body))
		}
		mediaType := "text/javascript; charset=utf-8"
		switch {
		case strings.HasSuffix(path, ".map"):
			mediaType = "application/json"
		case strings.HasSuffix(path, ".ts"):
			mediaType = "text/plain; charset=utf-8"
		}
		if got := res.Header.Get("Content-Type"); got != mediaType {
			t.Errorf("%s is %s, want %s", path, got, mediaType)
		}
		if res.Header.Get("Cache-Control") != "public, max-age=300" || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", path, res.Header)
		}
		etag := res.Header.Get("ETag")
		for header, status := range map[string]int{etag: 304, `"x", ` + strings.TrimPrefix(etag, "W/"): 304, "*": 304, `"x"`: 200, "": 200} {
			res := get("GET", path, "If-None-Match", header)
			if res.StatusCode != status || res.Header.Get("ETag") != etag {
				t.Errorf("%s if not %q: %v", path, header, res)
			}
		}
		res = get("HEAD", path)
		if body, _ := io.ReadAll(res.Body); len(body) > 0 || res.ContentLength != int64(len(text)) {
			t.Errorf("HEAD %s: %v", path, res)
		}
	}
	for accept, zipped := range map[string]bool{
		"gzip, deflate, br": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "identity": false, "gzip; q=x": false,
	} {
		res := get("GET", "/culvert.js", "Accept-Encoding", accept)
		if (res.Header.Get("Content-Encoding") == "gzip") != zipped {
			t.Errorf("with %q: %v", accept, res.Header)
		}
		if !zipped {
			continue
		}
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(z); err != nil || !bytes.Contains(body, []byte("connect")) {
			t.Errorf("with %q: %d bytes, %v", accept, len(body), err)
		}
	}
	if res := get("GET", "/"); res.StatusCode != 404 {
		t.Errorf("/: %v", res)
	}
	if res := get("POST", "/culvert.js"); res.StatusCode != 405 || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %v", res)
	}
}

// TestSizes: what pages load stays small.
func TestSizes(t *testing.T) {
	for name, limit := range map[string]int{"culvert.js": 10 << 10, "culvert.global.js": 10 << 10, "culvert.legacy.js": 2 << 10} {
		text, err := os.ReadFile("dist/" + name)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		z.Write(text)
		z.Close()
		t.Logf("%s: %d bytes, %d compressed", name, len(text), b.Len())
		if b.Len() > limit {
			t.Errorf("%s has %d bytes compressed, want at most %d", name, b.Len(), limit)
		}
	}
}
