package main

import (
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

// memoryAllowed is how much memory the system lets this process and its like
// have (the cgroup's limit), 0 where there is no limit or it is not known.
func memoryAllowed() int64 {
	return cgroupLimit(os.DirFS("/"))
}

// cgroupLimit is the least limit of the process's cgroup and those above it. A
// container sees its own cgroup as the root of the tree, but not always in
// /proc/self/cgroup, so the root is looked at in any case.
func cgroupLimit(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(math.MaxInt64)
	for line := range strings.Lines(string(text)) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && controllers == "": // version 2
			least = min(least, leastAbove(root, "sys/fs/cgroup", group, "memory.max"))
		case strings.Contains(","+controllers+",", ",memory,"): // version 1
			least = min(least, leastAbove(root, "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"))
		}
	}
	if least >= 1<<60 { // version 1 writes no limit as a large one
		return 0
	}
	return least
}

// leastAbove is the least number in the files of a group and of those above it.
func leastAbove(root fs.FS, tree, group, name string) int64 {
	least := int64(math.MaxInt64)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		if text, err := fs.ReadFile(root, path.Join(tree, group, name)); err == nil {
			// "max", which is no number, is no limit.
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
		if group == "/" {
			return least
		}
	}
}
