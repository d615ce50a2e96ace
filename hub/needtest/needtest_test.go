package needtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
)

// ended is a test that writes down how it ends, and does.
type ended struct {
	testing.TB
	how string
}

func (e *ended) Helper()           {}
func (e *ended) Fatal(args ...any) { e.end("failed: " + fmt.Sprint(args...)) }
func (e *ended) Skip(args ...any)  { e.end("skipped: " + fmt.Sprint(args...)) }
func (e *ended) end(how string)    { e.how = how; runtime.Goexit() }

// how is the end of a test that needs what need says, "" for none.
func how(need func(t testing.TB)) string {
	e := &ended{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		need(e)
	}()
	<-done
	return e.how
}

func TestProgram(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	path := filepath.Join(dir, "second")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := needtest.Program(t, "first", "second"); got != path {
		t.Errorf("found %q", got)
	}
	for ci, want := range map[string]string{"": "skipped: first is not installed", "true": "failed: first is not installed"} {
		t.Setenv("CI", ci)
		if got := how(func(t testing.TB) { needtest.Program(t, "first", "third") }); got != want {
			t.Errorf("CI=%q: %q, want %q", ci, got, want)
		}
	}
}

func TestTime(t *testing.T) {
	want := ""
	if testing.Short() {
		want = "skipped: it takes a minute"
	}
	if got := how(func(t testing.TB) { needtest.Time(t, "it takes a minute") }); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
