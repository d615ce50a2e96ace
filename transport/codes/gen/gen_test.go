package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	if err := run([]string{"-dir", "..", "-check"}, io.Discard); err != nil {
		t.Fatal(err)
	}
}

func TestCheckFindsAStaleFile(t *testing.T) {
	dir := t.TempDir()
	source, err := os.ReadFile("../codes.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "codes.json"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	ts := filepath.Join(dir, "codes.ts")
	args := []string{"-dir", dir, "-ts", ts}
	if err := run(append(args, "-check"), io.Discard); err == nil {
		t.Fatal("-check is content with files that are not there")
	}
	if _, err := os.Stat(ts); err == nil {
		t.Fatal("-check wrote a file")
	}
	if err := run(args, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := run(append(args, "-check"), io.Discard); err != nil {
		t.Fatalf("-check after writing: %v", err)
	}
	if err := os.WriteFile(ts, []byte("// by hand\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(append(args, "-check"), io.Discard); err == nil || !strings.Contains(err.Error(), "codes.ts") {
		t.Fatalf("-check after an edit says %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ source, want string }{
		{`[{"code":"Bad","reconnect":"never","summary":"x"}]`, "not a code"},
		{`[{"code":"a","reconnect":"never","summary":"x"},{"code":"a","reconnect":"never","summary":"x"}]`, "twice"},
		{`[{"code":"a","close":4001,"reconnect":"now","summary":"x"},{"code":"b","close":4001,"reconnect":"now","summary":"x"}]`, "same close code"},
		{`[{"code":"a","close":4001,"reconnect":"never","summary":"x"}]`, "by its range"},
		{`[{"code":"a","http":503,"reconnect":"never","summary":"x"}]`, "HTTP status"},
		{`[{"code":"a","reconnect":"later","summary":"x"}]`, "now, backoff or never"},
		{`[{"code":"a","reconnect":"now"}]`, "no summary"},
		{`[{"code":"a","colour":"red"}]`, "unknown field"},
	}
	for _, tt := range tests {
		if _, err := parse([]byte(tt.source)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parse(%s) says %v, want %q", tt.source, err, tt.want)
		}
	}
}
