package main

import (
	"cmp"
	"debug/buildinfo"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// versions are those of all that took part.
func (b *bencher) versions() []string {
	all := []string{strings.Replace(first(b.culvert, "version"), unknownCommit, "commit "+cmp.Or(b.commit, "unknown"), 1), "Go " + strings.TrimPrefix(runtime.Version(), "go")}
	if b.limit != "" {
		all = append(all, first("cc", "--version"))
	}
	if b.nginx != "" {
		all = append(all, first(b.nginx, "-v"))
		if v := first("dpkg-query", "-W", "-f", "Nchan ${Version}", "libnginx-mod-nchan"); strings.HasPrefix(v, "Nchan") {
			all = append(all, v)
		}
	}
	if v := first("redis-server", "--version"); v != "" {
		if fields := strings.Fields(v); len(fields) > 2 {
			all = append(all, "redis-server "+strings.TrimPrefix(fields[2], "v="))
		}
	}
	if info, err := buildinfo.ReadFile(b.goredis); err == nil {
		for _, d := range info.Deps {
			if strings.HasPrefix(d.Path, "github.com/redis/") {
				all = append(all, "go-redis "+d.Version)
			}
		}
	}
	return slices.DeleteFunc(all, func(text string) bool { return text == "" })
}

// first is the first line that a program writes.
func first(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// unknownCommit is what culvert version says where go build was told to stamp
// none (-buildvcs=false, as where builds are to be alike).
const unknownCommit = "commit unknown"

// committed is the commit of a folder in the words of culvert version, as git
// knows it; "" where it does not.
func committed(folder string) string {
	commit := first("git", "-C", folder, "rev-parse", "--short=12", "HEAD")
	if commit == "" {
		return ""
	}
	if first("git", "-C", folder, "status", "--porcelain") != "" {
		commit += ", changed since"
	}
	return commit
}
