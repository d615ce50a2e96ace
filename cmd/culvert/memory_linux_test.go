package main

import (
	"testing"
	"testing/fstest"
)

func TestCgroupLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, tt := range []struct {
		name  string
		files fstest.MapFS
		want  int64
	}{
		{"no cgroups", fstest.MapFS{}, 0},
		{"version 2, in a container", fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("268435456\n"),
		}, 256 << 20},
		{"version 2, no limit", fstest.MapFS{
			"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n"),
		}, 0},
		{"version 2, a limit above", fstest.MapFS{
			"proc/self/cgroup":                                      file("0::/system.slice/culvert.service\n"),
			"sys/fs/cgroup/system.slice/memory.max":                 file("1000000\n"),
			"sys/fs/cgroup/system.slice/culvert.service/memory.max": file("2000000\n"),
		}, 1000000},
		{"version 1", fstest.MapFS{
			"proc/self/cgroup":                                      file("5:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":            file("9223372036854771712\n"),
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes":        file("1500000\n"),
			"sys/fs/cgroup/cpu,cpuacct/a/b/memory.limit_in_bytes":   file("1\n"),
			"sys/fs/cgroup/memory/a/b/c/memory.limit_in_bytes":      file("2\n"),
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes.of_other": file("3\n"),
		}, 1500000},
		{"version 1, in a container that shows another path", fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/docker/abc\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("1500000\n"),
		}, 1500000},
		{"version 1, no limit", fstest.MapFS{
			"proc/self/cgroup":                           file("4:memory:/\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n"),
		}, 0},
		{"nonsense", fstest.MapFS{
			"proc/self/cgroup": file("4\n::::\n0::../../..\n4:memory:\n"), "sys/fs/cgroup/memory.max": file("-1"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes": file("99999999999999999999"),
		}, 0},
	} {
		if got := cgroupLimit(tt.files); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if memoryAllowed() < 0 {
		t.Error("negative limit")
	}
}
