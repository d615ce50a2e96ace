// Package needtest is what a test says that needs more than Go: a program, a
// kind of system, time. Where that is missing the test is skipped, so that the
// tests run anywhere, and fails where CI is "true" in the environment, so that
// none of them is missing unseen.
package needtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// forAdministrators is where Debian keeps what only administrators have in
// their PATH, web servers among it.
var forAdministrators = []string{"/usr/sbin", "/sbin"}

// Program is the path of the first of the programs that is there.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, dir := range forAdministrators {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path
			}
		}
	}
	Missing(t, "%s is not installed", names[0])
	return ""
}

// Missing ends a test that misses what the reason names.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	reason := fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// Time skips a test that takes it, where the tests are to be short.
func Time(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip(why)
	}
}
