package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds everything that a test waits for; none of them comes near it.
const patience = time.Minute

// lines collects what a program writes and lets a test wait for a line.
type lines struct {
	mu   sync.Mutex
	cond *sync.Cond
	text bytes.Buffer // guarded by mu
	gone bool         // guarded by mu: nothing more will come
}

func newLines() *lines {
	l := new(lines)
	l.cond = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.cond.Broadcast()
	return len(p), nil
}

func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
	l.cond.Broadcast()
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// wait returns the first submatch of pattern in a complete line, or all of the
// match where there is none.
func (l *lines) wait(t testing.TB, pattern string) string {
	t.Helper()
	expr := regexp.MustCompile(pattern)
	stop := context.AfterFunc(deadline(t), l.end)
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		text := l.text.Bytes()
		for line := range bytes.Lines(text) {
			line, complete := bytes.CutSuffix(line, []byte("\n"))
			if m := expr.FindSubmatch(line); m != nil && complete {
				return string(m[len(m)-1])
			}
		}
		if l.gone {
			t.Fatalf("no line matches %q in\n%s", pattern, text)
		}
		l.cond.Wait()
	}
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// running is the program, running inside the test by run.
type running struct {
	t        testing.TB
	url      string // of serve
	out, err *lines
	cancel   context.CancelFunc
	status   chan int
}

// start runs the program.
func start(t testing.TB, in io.Reader, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, out: newLines(), err: newLines(), cancel: cancel, status: make(chan int, 1)}
	go func() {
		status := run(ctx, args, nil, in, r.out, r.err)
		r.out.end()
		r.err.end()
		r.status <- status
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.status:
		case <-deadline(t).Done():
			t.Errorf("%q does not end", args)
		}
	})
	return r
}

// wait returns the program's exit status.
func (r *running) wait() int {
	r.t.Helper()
	select {
	case status := <-r.status:
		r.status <- status // for the clean-up
		return status
	case <-deadline(r.t).Done():
		r.t.Fatalf("the program does not end; it wrote\n%s", r.err)
		return -1
	}
}

// stop is a signal's part: the end of the context.
func (r *running) stop() int {
	r.t.Helper()
	r.cancel()
	return r.wait()
}

// startServe runs the server on a free port and waits until it is ready.
func startServe(t testing.TB, args ...string) *running {
	t.Helper()
	r := start(t, strings.NewReader(""), append([]string{"serve", "--listen", "localhost:0"}, args...)...)
	r.url = r.err.wait(t, `listens on (\S+)`)
	return r
}

// buildFolder is where program builds; TestMain makes and removes it.
var buildFolder string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "culvert-test-")
	if err != nil {
		panic(err)
	}
	buildFolder = folder
	status := m.Run()
	os.RemoveAll(folder)
	os.Exit(status)
}

// program builds the program, once for all tests.
var program = sync.OnceValues(func() (string, error) {
	name := filepath.Join(buildFolder, "culvert")
	out, err := osexec.Command("go", "build", "-o", name, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return name, nil
})

// process is the built program, running.
type process struct {
	t   testing.TB
	cmd *osexec.Cmd
	url string
	err *lines
	end chan struct{} // closed when err has all
}

// startProcess runs the built program as a server and waits until it is ready.
func startProcess(t testing.TB, args ...string) *process {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: osexec.Command(name, append([]string{"serve", "--listen", "localhost:0"}, args...)...), err: newLines(), end: make(chan struct{})}
	errOut, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.Copy(p.err, errOut)
		p.err.end()
		close(p.end)
	}()
	t.Cleanup(func() { p.cmd.Process.Kill() })
	p.url = p.err.wait(t, `listens on (\S+)`)
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit status.
func (p *process) wait() int {
	p.t.Helper()
	stop := context.AfterFunc(deadline(p.t), func() { p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer stop()
	<-p.end // os/exec wants its pipes read before it waits
	p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// goroutines fails the test if, at its end, goroutines of this module are left.
func goroutines(t testing.TB) {
	t.Cleanup(func() {
		var left string
		for range 100 {
			var b bytes.Buffer
			pprof.Lookup("goroutine").WriteTo(&b, 2)
			left = ""
			for g := range strings.SplitSeq(b.String(), "\n\n") {
				if strings.Contains(g, "culvertd/culvert") && !strings.Contains(g, "testing.(*T).Run") && !strings.Contains(g, "testing.tRunner") {
					left += g + "\n\n"
				}
			}
			if left == "" {
				return
			}
			// Ending goroutines have nothing to wait on; give them the processor.
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("goroutines are left:\n%s", left)
	})
}
