package web_test

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

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

// TestBundled: a bundler keeps the scripts that are there for what they do, and
// of the module what is used.
func TestBundled(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(t.TempDir(), "node_modules")
	if err := os.Mkdir(modules, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, filepath.Join(modules, "culvert")); err != nil {
		t.Fatal(err)
	}
	for source, kept := range map[string]bool{
		`import "culvert/global"`:           true,
		`import "culvert/legacy"`:           true,
		`import { connect } from "culvert"`: false,
	} {
		result := api.Build(api.BuildOptions{
			Stdin:            &api.StdinOptions{Contents: source, ResolveDir: filepath.Dir(modules)},
			Bundle:           true,
			PreserveSymlinks: true,
		})
		if len(result.Errors)+len(result.Warnings) > 0 {
			t.Errorf("%s: %v %v", source, result.Errors, result.Warnings)
			continue
		}
		if size := len(result.OutputFiles[0].Contents); (size > 1000) != kept {
			t.Errorf("%s: %d bytes", source, size)
		}
	}
}
