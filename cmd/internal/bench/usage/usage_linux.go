package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of times in /proc, the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

func of(pid int) (Cost, error) {
	var sum Cost
	for i, p := range family(pid) {
		c, err := one(p)
		switch {
		case err == nil:
			sum.CPU += c.CPU
			sum.Kernel += c.Kernel
			sum.RSS += c.RSS
			sum.Private += c.Private
		case i == 0 || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH): // a child may end at any time
			return Cost{}, err
		}
	}
	return sum, nil
}

func cpu(pid int) (time.Duration, error) {
	var sum time.Duration
	for i, p := range family(pid) {
		d, err := clock(p)
		if err != nil && i == 0 {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func self() (time.Duration, error) { return clock(os.Getpid()) }

// family is a process and its descendants.
func family(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, name := range threads {
			text, _ := os.ReadFile(name)
			for _, field := range strings.Fields(string(text)) {
				if child, err := strconv.Atoi(field); err == nil {
					all = append(all, child)
				}
			}
		}
	}
	return all
}

// clock reads the processor time of any process, in nanoseconds.
func clock(pid int) (time.Duration, error) {
	// The encoding of clock_getcpuclockid(3): the process's id, inverted, and 2
	// for the time that the scheduler counts.
	const scheduled = 2
	var ts unix.Timespec
	switch err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err {
	case nil:
	case unix.EINVAL: // there is no such clock
		return 0, unix.ESRCH
	default:
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(ts.Nano()), nil
}

func one(pid int) (c Cost, err error) {
	if c.CPU, err = clock(pid); err != nil {
		return c, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		err = unix.ESRCH
	}
	if err != nil {
		return c, err
	}
	// The name, the second field, may hold anything but ends with the last ")".
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const stime = 15 - 3
	if len(fields) <= stime {
		return c, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	ticks, err := strconv.ParseInt(fields[stime], 10, 64)
	if err != nil {
		return c, err
	}
	c.Kernel = time.Duration(ticks) * tick
	memory, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(memory)) {
		name, value, _ := strings.Cut(line, ":")
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue // the heading
		}
		switch name {
		case "Rss":
			c.RSS = kb << 10
		case "Private_Clean", "Private_Dirty":
			c.Private += kb << 10
		}
	}
	return c, nil
}

func tcpMemory() (int64, error) {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "TCP:" && fields[len(fields)-2] == "mem" {
			pages, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			return pages * int64(os.Getpagesize()), err
		}
	}
	return 0, ErrUnknown
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Pin keeps this process on one core.
func Pin(core int) error {
	set, err := only(core)
	if err != nil {
		return err
	}
	// Threads that are started later inherit from one of these.
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(filepath.Base(thread))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}

// StartOn starts a command on one core; core -1 means any.
func StartOn(core int, c *exec.Cmd) error {
	if core < 0 {
		return c.Start()
	}
	set, err := only(core)
	if err != nil {
		return err
	}
	// The child inherits from the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	return errors.Join(c.Start(), os.NewSyscallError("sched_setaffinity", unix.SchedSetaffinity(0, &before)))
}

func only(core int) (set unix.CPUSet, err error) {
	set.Set(core)
	var mine unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return set, os.NewSyscallError("sched_getaffinity", err)
	}
	if !mine.IsSet(core) {
		return set, fmt.Errorf("core %d %w", core, ErrCore)
	}
	return set, nil
}
