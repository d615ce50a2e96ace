// Package imports holds the rules of who may import whom, as a test. It reads
// the import clauses of all files, whatever their build constraints.
package imports

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/culvertd/culvert"

// inside: what a folder's packages may import of this module, apart from each
// other.
var inside = []struct {
	folder string
	may    []string
	reason string
}{
	{"hub", nil, "the domain stands alone: stores and transports are adapters around it, and it is tested without them"},
	{"store", []string{"hub"}, "a store is an adapter of the hub and does not know who asks"},
	{"transport", []string{"hub"}, "a transport is an adapter of the hub and does not know what keeps the rooms"},
	{"web", nil, "pages are files; who serves them is not their business"},
	{"cmd", []string{"hub", "store", "transport", "web"}, "programs put everything together"},
}

// adapters: packages that the others in their top-level folder never import.
// The engine, package transport itself, is what puts the transports together.
var adapters = []string{"store/memory", "store/redis", "transport/ws", "transport/stream", "transport/sse", "transport/poll", "transport"}

const adaptersReason = "stores never know each other, nor do transports: what two of them need is a package below both"

// outside: which folders may import a module from elsewhere. A module that is
// not here may be imported nowhere.
var outside = []struct {
	path    string
	folders []string
	reason  string
}{
	{"github.com/gin-gonic/gin", []string{"transport", "cmd"}, "HTTP routing is the transports' affair"},
	{"github.com/gorilla/websocket", []string{"transport/ws", "cmd/internal/doctor"}, "one package speaks WebSocket, and one tests whether others let it through"},
	{"github.com/redis/rueidis", []string{"store/redis"}, "one package speaks to Redis"},
	{"github.com/redis/go-redis", []string{"cmd/bench-limits/goredis"}, "a module of its own measures it; the product does not depend on it"},
	{"github.com/alicebob/miniredis", []string{"store/redis"}, "a stand-in for Redis belongs to the store that speaks to Redis"},
	{"github.com/evanw/esbuild", []string{"web"}, "only go generate in web bundles scripts"},
	{"golang.org/x/net/proxy", []string{"cmd/internal/doctor"}, "SOCKS is for whoever has to go through a proxy, which the doctor tests"},
	{"golang.org/x/sys", []string{"transport", "cmd"}, "system calls are for connections and programs"},
}

// isTest: tests, and the packages that are suites for tests, put together what
// programs would, with any client that helps.
func isTest(folder, file string) bool {
	return strings.HasSuffix(file, "_test.go") || strings.HasSuffix(folder, "test")
}

func within(folder, of string) bool { return folder == of || strings.HasPrefix(folder, of+"/") }

// check returns what is wrong with an import, "" for nothing.
func check(folder, file, imported string) string {
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	if imported == module {
		return "the module has no package at its top"
	}
	if target, ok := strings.CutPrefix(imported, module+"/"); ok {
		return checkInside(folder, file, target)
	}
	for _, m := range outside {
		if !within(imported, m.path) {
			continue
		}
		if isTest(folder, file) || slices.ContainsFunc(m.folders, func(f string) bool { return within(folder, f) }) {
			return ""
		}
		return fmt.Sprintf("only %s may: %s", strings.Join(m.folders, " and "), m.reason)
	}
	if isTest(folder, file) {
		return ""
	}
	return "this dependency is in no rule; is it needed, and where?"
}

func checkInside(folder, file, target string) string {
	if isTest(folder, file) {
		return ""
	}
	if !within(folder, target) && isTest(target, "") {
		return "a suite for tests is no part of a program"
	}
	for _, r := range inside {
		if !within(folder, r.folder) {
			continue
		}
		if !within(target, r.folder) && !slices.ContainsFunc(r.may, func(f string) bool { return within(target, f) }) {
			return r.reason
		}
		if within(target, r.folder) && folder != "transport" && adapter(target) != "" && adapter(target) != adapter(folder) {
			return adaptersReason
		}
		return ""
	}
	return "this folder is in no rule; what is it for?"
}

// adapter is the adapter to which a folder belongs, "" for none.
func adapter(folder string) string {
	for _, a := range adapters {
		if folder == a || a != "transport" && within(folder, a) {
			return a
		}
	}
	return ""
}

func TestImports(t *testing.T) {
	root := moduleRoot(t)
	files := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (base == "node_modules" || base == "testdata" || base[0] == '.' || base[0] == '_') {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		files++
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		folder := path.Dir(relative)
		if folder == "." {
			t.Errorf("%s: Go files live in cmd, hub, store, transport and web", relative)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if wrong := check(folder, relative, imported); wrong != "" {
				t.Errorf("%s must not import %s: %s", relative, imported, wrong)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Error("no Go file was found")
	}
}

// TestFolders: the top-level folders are the user's choice.
func TestFolders(t *testing.T) {
	entries, err := os.ReadDir(moduleRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"cmd", "hub", "store", "transport", "web", "bin", "node_modules"} // the last two are never committed
	for _, e := range entries {
		if e.IsDir() && e.Name()[0] != '.' && !slices.Contains(allowed, e.Name()) {
			t.Errorf("top-level folder %s: the layout has cmd, hub, store, transport and web", e.Name())
		}
	}
}

// TestRules: that the rules refuse what they are there for.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		file, imported string
		ok             bool
	}{
		{"hub/hub.go", "context", true},
		{"hub/hub.go", module + "/store/memory", false},
		{"hub/hub.go", "golang.org/x/sync/errgroup", false},
		{"hub/hub_test.go", module + "/store/memory", true},
		{"store/memory/store.go", module + "/hub", true},
		{"store/memory/store.go", module + "/store/redis", false},
		{"store/memory/store.go", module + "/store/storetest", false},
		{"store/memory/store_test.go", module + "/store/storetest", true},
		{"store/redis/script.go", module + "/transport/codes", false},
		{"store/redis/client.go", "github.com/redis/rueidis/rueidiscompat", true},
		{"store/redis/scripts/load.go", module + "/store/redis/keys", true},
		{"store/memory/store.go", "github.com/redis/rueidis", false},
		{"transport/engine.go", module + "/transport/ws", true},
		{"transport/engine.go", module + "/store/memory", false},
		{"transport/engine.go", "github.com/gin-gonic/gin", true},
		{"transport/engine.go", "github.com/gorilla/websocket", false},
		{"transport/engine_test.go", "github.com/gorilla/websocket", true},
		{"transport/ws/ws.go", "github.com/gorilla/websocket", true},
		{"transport/ws/ws.go", module + "/transport/wire", true},
		{"transport/ws/ws.go", module + "/transport/sse", false},
		{"transport/ws/ws.go", module + "/transport", false},
		{"transport/ws/frame/frame.go", module + "/transport/ws", true},
		{"transport/wire/wire.go", module + "/transport/ws", false},
		{"transport/wire/wire.go", module + "/transport/codes", true},
		{"transport/history/history.go", module + "/store/memory", false},
		{"transport/codes/gen/main.go", module + "/transport/codes", true},
		{"transport/transporttest/suite.go", module + "/store/memory", true},
		{"web/embed.go", module + "/hub", false},
		{"cmd/culvert/main.go", module + "/store/redis", true},
		{"cmd/culvert/main.go", module + "/transport/transporttest", false},
		{"cmd/culvert/main.go", "github.com/spf13/viper", false},
		{"other/main.go", module + "/hub", false},
	} {
		if wrong := check(path.Dir(tt.file), tt.file, tt.imported); (wrong == "") != tt.ok {
			t.Errorf("%s imports %s: allowed %v (%s), want %v", tt.file, tt.imported, wrong == "", wrong, tt.ok)
		}
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		up := filepath.Dir(folder)
		if up == folder {
			t.Fatal("there is no go.mod above this folder")
		}
		folder = up
	}
}
