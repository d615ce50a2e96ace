package main

import (
	"net"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
)

// startRedis runs a redis-server that keeps nothing on disk, and returns its
// address.
func startRedis(t *testing.T, args ...string) string {
	t.Helper()
	program := needtest.Program(t, "redis-server", "valkey-server")
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	cmd := osexec.Command(program, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, args...)...)
	said := newLines()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	said.wait(t, "Ready to accept connections")
	return address
}

// TestServeOnRedis: two nodes are one service, rooms and keys outlive both, and
// the password is shown nowhere.
func TestServeOnRedis(t *testing.T) {
	goroutines(t)
	address := startRedis(t, "--requirepass", "hunter2")
	one := startServe(t, "--store", "redis://:hunter2@"+address+"/3")
	two := startServe(t, "--store", "redis://:hunter2@"+address+"/3", "--log-level", "debug")
	reader := start(t, nil, "sub", "lobby", "--url", two.url)
	waitForReaders(t, two.url, 1)
	publish := func(url string) string {
		status, out, errOut := exec(t, "", nil, "pub", "lobby", `{"n":1}`, "--key", "k", "--url", url)
		if status != exitOK {
			t.Fatalf("pub: %s", errOut)
		}
		return out
	}
	if out := publish(one.url); !strings.Contains(out, `"offset":1,`) || !strings.Contains(out, `"duplicate":false`) {
		t.Errorf("pub: %s", out)
	}
	reader.out.wait(t, `^\{"n":1\}$`)
	if out := publish(two.url); !strings.Contains(out, `"offset":1,`) || !strings.Contains(out, `"duplicate":true`) {
		t.Errorf("pub at the other node: %s", out)
	}
	one.stop()
	two.stop()
	three := startServe(t, "--store", "redis://:hunter2@"+address+"/3")
	if out := publish(three.url); !strings.Contains(out, `"duplicate":true`) {
		t.Errorf("pub after a restart: %s", out)
	}
	status, out, errOut := exec(t, "", nil, "sub", "lobby", "--from", "start", "--count", "1", "--url", three.url)
	if status != exitOK || out != `{"n":1}`+"\n" {
		t.Errorf("sub after a restart: %q %s", out, errOut)
	}
	reader.stop()
	three.stop()
	for _, s := range []*running{one, two, three} {
		if said := s.err.String(); strings.Contains(said, "hunter2") || !strings.Contains(said, "(store: redis, single "+address+"/3)") {
			t.Errorf("log:\n%s", said)
		}
		// This server keeps nothing on disk, which the operator should know.
		if said := s.err.String(); !strings.Contains(said, "level=WARN") || !strings.Contains(said, "code=persistence") {
			t.Errorf("no warning in the log:\n%s", said)
		}
	}
}

func TestServeWithoutRedis(t *testing.T) {
	began := time.Now()
	status, _, errOut := exec(t, "", nil, "--listen", "localhost:0", "--store", "redis://:hunter2@127.0.0.1:1")
	if status != exitFailed || !strings.HasPrefix(errOut, "culvert serve: --store: redis: cannot use single 127.0.0.1:1/0: ") || strings.Contains(errOut, "hunter2") {
		t.Errorf("status %d, err %s", status, errOut)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestServeWithoutRights: a user who may not do all that a node does is told at
// its start what is missing, and how to give it.
func TestServeWithoutRights(t *testing.T) {
	address := startRedis(t, "--user", "poor", "on", ">hunter2", "~*", "&*", "+@all", "-xadd", "-pexpire")
	status, _, errOut := exec(t, "", nil, "--listen", "localhost:0", "--store", "redis://poor:hunter2@"+address)
	if status != exitFailed || !strings.HasPrefix(errOut, "culvert serve: --store: redis: ") ||
		!strings.Contains(errOut, "ACL SETUSER poor +pexpire +xadd (redis says: ") || strings.Contains(errOut, "hunter2") {
		t.Errorf("status %d, err %s", status, errOut)
	}
}

// TestRedisLimits: what Redis does not allow is told by the name of its flag.
func TestRedisLimits(t *testing.T) {
	for flag, most := range map[string][2]string{
		"--history-messages": {"100001", "100000"}, "--history-bytes": {"1025MiB", "1GiB"},
		"--history-age": {"8785h", "8784h"}, "--room-ttl": {"17569h", "17568h"},
	} {
		status, _, errOut := exec(t, "", nil, "--listen", "localhost:0", "--store", "redis://127.0.0.1:1", flag, most[0])
		want := "culvert serve: " + flag + " is more than " + most[1] + ", which is the most with Redis"
		if status != exitUsage || !strings.HasPrefix(errOut, want) {
			t.Errorf("status %d, err %s", status, errOut)
		}
	}
}

// TestServeOnMiniredis: the keys can be looked at with the real redis-cli.
func TestServeOnMiniredis(t *testing.T) {
	program := needtest.Program(t, "redis-cli", "valkey-cli")
	s := startServe(t, "--store", "miniredis", "--redis-prefix", "demo")
	cli := s.err.wait(t, `redis-cli (-h \S+ -p \d+)`)
	if status, answer := request(t, "POST", s.url+"/rooms/lobby?key=k", "x"); status != 201 {
		t.Fatalf("publish: %d %s", status, answer)
	}
	keys, err := osexec.Command(program, append(strings.Fields(cli), "keys", "demo*")...).CombinedOutput()
	if err != nil || !strings.Contains(string(keys), "lobby") {
		t.Errorf("%v\n%s", err, keys)
	}
}
