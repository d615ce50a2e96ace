//go:build linux

// Package lab proves that Culvert works through what stands between: it starts
// the built server, real proxies in the configurations that make trouble, and
// clients (a plain one in Go, the browser client in Node, in Chromium and, where it
// is compared and where paths fall silent, in Firefox; -lab.firefox: everywhere).
//
// Every row says which row of the catalogue of middleboxes it reproduces. Three
// things are shown for each: that the middlebox really misbehaves, with an
// origin that knows no countermeasures (TestMisbehaviour); that the protocol
// holds, with a client of a hundred lines (TestProtocol); and that the browser
// client finds its way (TestClients). Others compare it with other clients
// (TestComparisonRows), let paths fall silent, break and come back (TestSilence,
// TestBadLuck, TestRestarts), and let misbehaviours meet that were drawn by
// chance (TestCombinations; -lab.seed draws others).
//
// CATALOGUE.md is the catalogue, RESULTS.md what the client made of it.
//
// A row whose software is missing is skipped, and fails where CI=true. With
// -short nothing runs.
package lab

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if host := os.Getenv("LAB_HTTP2_PROXY"); host != "" {
		serveHTTP2Proxy(host)
		return
	}
	if testing.Short() {
		fmt.Println("the lab takes minutes: skipped with -short")
		return
	}
	// Rows mostly wait; as many as there are cores would take half an hour.
	if f := flag.Lookup("test.parallel"); f != nil && !given("test.parallel") {
		_ = f.Value.Set("10")
	}
	code := m.Run()
	atEnd.run()
	if !tables(code == 0 && complete()) {
		code = 1
	}
	built.remove()
	os.Exit(code)
}

// incomplete: something was not run, for something is missing here.
var incomplete atomic.Bool

// complete tells whether every test was run as it is.
func complete() bool {
	return !incomplete.Load() && !slices.ContainsFunc([]string{"test.run", "test.skip", "test.list", "lab.seed", "lab.combinations", "lab.firefox"}, given)
}

// atEnd is what is undone after the last test.
var atEnd ending

type ending struct {
	mu   sync.Mutex
	undo []func() // guarded by mu
}

func (e *ending) run() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range slices.Backward(e.undo) {
		f()
	}
}

// lasting is a test whose cleanups wait for the end of all tests.
type lasting struct{ testing.TB }

func (lasting) Cleanup(f func()) {
	atEnd.mu.Lock()
	defer atEnd.mu.Unlock()
	atEnd.undo = append(atEnd.undo, f)
}

func given(name string) bool {
	found := false
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// missing skips a test that needs what is not there; in CI it fails.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	incomplete.Store(true)
	needtest.Missing(t, format, args...)
}

// program finds a program.
func program(t testing.TB, name string) string {
	t.Helper()
	defer func() {
		if t.Skipped() {
			incomplete.Store(true)
		}
	}()
	return needtest.Program(t, name)
}

// directory makes one that daemons under another user can use.
func directory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "culvert-lab-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// ports are those handed out, so that two daemons never get the same.
var ports = struct {
	sync.Mutex
	taken map[int]bool
}{taken: map[int]bool{}}

// freePort is one that nothing listens on just now. It is below those that systems
// give to whoever asks for any: between here and the start of a daemon a proxy of
// our own or a browser would get it, which then passes for the daemon.
func freePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 22_000 + rand.IntN(10_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		l.Close()
		ports.Lock()
		taken := ports.taken[port]
		ports.taken[port] = true
		ports.Unlock()
		if !taken {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// process is a program that runs until the end of the test.
type process struct {
	*exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// start runs a program in a process group of its own.
func start(t testing.TB, dir, name string, args ...string) *process {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(name)+".out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(name, args...), log: path, done: make(chan struct{})}
	p.Dir, p.Stdout, p.Stderr = dir, out, out
	p.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err = p.Start()
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		p.Wait()
		close(p.done)
	}()
	t.Cleanup(p.stop)
	return p
}

func (p *process) stop() {
	group := -p.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
	// Whatever its children are doing.
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.done
}

// ready waits until it listens on the port.
func (p *process) ready(port int) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		select {
		case <-p.done: // who listens is somebody else
			if err == nil {
				c.Close()
			}
			return errors.New("it ended: " + p.words())
		default:
		}
		if err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond) // nothing tells of it
	}
	return errors.New("nobody listens: " + p.words())
}

// words is the end of what it said.
func (p *process) words() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-2000):])
}

// built is the server, built once.
var built binary

type binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func (b *binary) get(t testing.TB) string {
	t.Helper()
	b.once.Do(func() {
		if b.path = os.Getenv("LAB_CULVERT"); b.path != "" {
			return
		}
		if b.dir, b.err = os.MkdirTemp("", "culvert-lab-bin-"); b.err != nil {
			return
		}
		b.path = filepath.Join(b.dir, "culvert")
		var said []byte
		said, b.err = exec.Command("go", "build", "-o", b.path, "github.com/culvertd/culvert/cmd/culvert").CombinedOutput()
		if b.err != nil {
			b.err = fmt.Errorf("%w: %s", b.err, said)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func (b *binary) remove() {
	if b.dir != "" {
		os.RemoveAll(b.dir)
	}
}

// server is a Culvert server.
type server struct {
	*process
	host string // host:port
	url  string
}

func startServer(t testing.TB, flags ...string) *server {
	t.Helper()
	port := freePort(t)
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := start(t, directory(t), built.get(t), append([]string{"serve", "--listen", host, "--reconnect-spread", "0s"}, flags...)...)
	if err := p.ready(port); err != nil {
		t.Fatalf("culvert serve: %v", err)
	}
	return &server{process: p, host: host, url: "http://" + host}
}

// pattern matches exactly the subtest with this name.
func pattern(name string) string {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
	}
	return strings.Join(parts, "/")
}
