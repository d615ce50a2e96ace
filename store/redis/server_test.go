//go:build unix

package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/store/redis"
)

// server is a redis-server of the test's own.
type server struct {
	t    testing.TB
	dir  string
	port int
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

// freePort is one that nothing listens on just now, nor on the one 10,000
// higher, which a cluster uses. It is below those that systems give to outgoing
// connections, so that it is still free when a server starts again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(12_000)
		a, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		b, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+10_000))
		a.Close()
		if err != nil {
			continue
		}
		b.Close()
		return port
	}
	t.Fatal("no free port")
	return 0
}

// startServer starts redis-server, with the given settings.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(s.kill)
	var err error
	for range 3 { // somebody else may take the port meanwhile
		s.port = freePort(t)
		if err = s.tryStart(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func (s *server) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }
func (s *server) url() string  { return "redis://" + s.addr() }

func (s *server) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) tryStart() error {
	s.t.Helper()
	path := needtest.Program(s.t, "redis-server", "valkey-server")
	args := append([]string{
		"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--daemonize", "no",
	}, s.args...)
	s.cmd = exec.Command(path, args...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.cmd.Stderr = s.cmd.Stdout
	if err := s.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan string, 1)
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		var log []string
		told := false
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			log = append(log, lines.Text())
			if !told && strings.Contains(lines.Text(), "Ready to accept connections") {
				told = true
				ready <- ""
			}
		}
		if !told {
			ready <- strings.Join(log, "\n")
		}
		s.cmd.Wait()
	}()
	select {
	case log := <-ready:
		if log != "" {
			<-s.done
			return fmt.Errorf("redis-server did not start:\n%s", log)
		}
		return nil
	case <-time.After(20 * time.Second):
		s.cmd.Process.Kill()
		return errors.New("redis-server did not start in 20 s")
	}
}

// stop ends the server as a shutdown does.
func (s *server) stop() { s.end(syscall.SIGTERM) }

// kill ends it at once.
func (s *server) kill() { s.end(syscall.SIGKILL) }

func (s *server) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if sig != syscall.SIGKILL {
		s.thaw() // or it would not hear of it; when killed it is to do nothing more
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

func (s *server) freeze() { s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *server) thaw()   { s.cmd.Process.Signal(syscall.SIGCONT) }

// cli runs redis-cli.
func (s *server) cli(args ...string) string {
	s.t.Helper()
	return cli(s.t, s.port, args...)
}

func cli(t testing.TB, port int, args ...string) string {
	t.Helper()
	path := needtest.Program(t, "redis-cli", "valkey-cli")
	out, err := exec.Command(path, append([]string{"-p", fmt.Sprint(port)}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// open opens a store and closes it with the test.
func open(t testing.TB, o redis.Options) *redis.Store {
	t.Helper()
	s, err := redis.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
