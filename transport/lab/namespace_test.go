//go:build linux

package lab

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// inChild: this process runs one test in a namespace, for its parent.
func inChild() bool { return os.Getenv("LAB_NAMESPACE") != "" }

// inNamespace makes a test run in a network namespace of its own. It returns true
// in the parent, whose part is done.
func inNamespace(t *testing.T) bool {
	t.Helper()
	_, ran := namespaced(t, t.Name())
	return ran
}

// namespaced runs the test with a name in a network namespace of its own, in a
// child process. It returns true in the parent, and what was found there.
func namespaced(t *testing.T, name string) (findings []finding, ran bool) {
	t.Helper()
	if inChild() {
		return nil, false
	}
	unshare, ip := program(t, "unshare"), program(t, "ip")
	program(t, "iptables")
	if said, err := exec.Command(unshare, "-n", ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		missing(t, "no network namespaces here: %v: %s", err, said)
	}
	c := exec.CommandContext(t.Context(), unshare, "-n", "sh", "-c", `"$0" link set lo up && exec "$@"`,
		ip, os.Args[0], "-test.run", pattern(name), "-test.v", "-test.timeout", "3m")
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second
	file := filepath.Join(directory(t), "findings")
	c.Env = append(os.Environ(), "LAB_NAMESPACE=1", "LAB_FINDINGS="+file, "LAB_CULVERT="+built.get(t))
	said, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	} else if testing.Verbose() {
		t.Logf("%s", said)
	}
	return left(t, file), true
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

// killsAt ends every connection to the server at an age, whatever its traffic,
// as a firewall does.
func killsAt(age time.Duration) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		_, port, err := net.SplitHostPort(upstream)
		if err != nil {
			t.Fatal(err)
		}
		ss := program(t, "ss")
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		t.Cleanup(func() {
			cancel()
			<-done
		})
		go func() {
			defer close(done)
			since := map[string]time.Time{}
			for ctx.Err() == nil {
				open := map[string]time.Time{}
				for _, peer := range peers(t, port) {
					open[peer] = time.Now()
					if before, known := since[peer]; known {
						open[peer] = before
					}
					if time.Since(open[peer]) < age {
						continue
					}
					if said, err := exec.Command(ss, "-K", "-t", "sport", "=", ":"+peer, "dport", "=", ":"+port).CombinedOutput(); err != nil {
						t.Errorf("ss: %v: %s", err, said)
					}
					delete(open, peer)
				}
				since = open
				pause(ctx, 50*time.Millisecond)
			}
		}()
		return &path{url: "http://" + upstream}
	}
}
