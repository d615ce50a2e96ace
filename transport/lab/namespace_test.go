//go:build linux

package lab

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// inNamespace makes a test run in a network namespace of its own, by running it
// again in a child process. It returns true in the parent, whose part is done.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("LAB_NAMESPACE") != "" {
		return false
	}
	unshare, ip := program(t, "unshare"), program(t, "ip")
	program(t, "iptables")
	if said, err := exec.Command(unshare, "-n", ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		missing(t, "no network namespaces here: %v: %s", err, said)
	}
	c := exec.CommandContext(t.Context(), unshare, "-n", "sh", "-c", `"$0" link set lo up && exec "$@"`,
		ip, os.Args[0], "-test.run", pattern(t.Name()), "-test.v", "-test.timeout", "3m")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	left := filepath.Join(directory(t), "findings")
	defer adopt(left)
	c.Env = append(os.Environ(), "LAB_NAMESPACE=1", "LAB_FINDINGS="+left, "LAB_CULVERT="+built.get(t))
	said, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	} else if testing.Verbose() {
		t.Logf("%s", said)
	}
	return true
}

// upgradesMeet lets packets with the request for an upgrade meet a target.
func upgradesMeet(target ...string) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		_, port, err := net.SplitHostPort(upstream)
		if err != nil {
			t.Fatal(err)
		}
		iptables(t, append([]string{"-A", "INPUT", "-p", "tcp", "--dport", port,
			"-m", "string", "--algo", "bm", "--icase", "--string", "Upgrade: websocket", "-j"}, target...)...)
		return &path{url: "http://" + upstream}
	}
}

// forgets lets the kernel forget connections that were idle for so many seconds,
// and drop what still comes on them.
func forgets(seconds int) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		_, port, err := net.SplitHostPort(upstream)
		if err != nil {
			t.Fatal(err)
		}
		for _, side := range []string{"--dport", "--sport"} {
			iptables(t, "-A", "INPUT", "-p", "tcp", side, port, "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
			iptables(t, "-A", "INPUT", "-p", "tcp", side, port, "!", "--syn", "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")
		}
		for name, value := range map[string]int{"nf_conntrack_tcp_timeout_established": seconds, "nf_conntrack_tcp_loose": 0} {
			if err := os.WriteFile("/proc/sys/net/netfilter/"+name, []byte(strconv.Itoa(value)), 0o644); err != nil {
				missing(t, "%v", err)
			}
		}
		return &path{url: "http://" + upstream}
	}
}
