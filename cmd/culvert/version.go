package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/settings"
)

// release is the version of this source tree.
const release = "0.1.0"

func versionCommand() command {
	return command{
		name:    "version",
		summary: "print the version, the commit and the Go version",
		declare: func(*settings.Set) func(context.Context, []string, stdio) error {
			return func(_ context.Context, args []string, std stdio) error {
				if len(args) > 0 {
					return settings.Errorf("it takes no arguments, not %q", args)
				}
				info, _ := debug.ReadBuildInfo()
				_, err := fmt.Fprintln(std.out, versionLine(info))
				return err
			}
		},
	}
}

// version is the release, or the module's version where the program was built
// as a module of that version (go install ...@v1.2.3).
func version(info *debug.BuildInfo) string {
	if info != nil {
		if v, ok := strings.CutPrefix(info.Main.Version, "v"); ok && !strings.Contains(v, "-") && !strings.Contains(v, "+") {
			return v
		}
	}
	return release
}

// versionLine is "culvert 0.1.0 (commit 1234567890ab, go1.26 linux/amd64)". The
// commit is known to programs built from a repository.
func versionLine(info *debug.BuildInfo) string {
	commit := "unknown"
	if info != nil {
		dirty := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && s.Value != "":
				commit = s.Value[:min(len(s.Value), 12)]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = ", changed since"
			}
		}
		commit += dirty
	}
	return fmt.Sprintf("culvert %s (commit %s, %s %s/%s)", version(info), commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
