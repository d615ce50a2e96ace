package web_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
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

// TestFiles: what pages name is there.
func TestFiles(t *testing.T) {
	for _, name := range []string{"culvert.js", "culvert.js.map", "culvert.global.js", "culvert.legacy.js", "culvert.d.ts"} {
		if text, err := fs.ReadFile(web.Files(), name); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
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
