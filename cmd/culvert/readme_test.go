package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
)

// block is a fenced part of the README.
type block struct {
	language string
	lines    []string
}

func readme(t *testing.T) (text string, blocks []block) {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{language: fence}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		}
	}
	if open != nil {
		t.Fatal("a fence is not closed")
	}
	return string(b), blocks
}

// TestREADMEFirstScreen: it fits, and says what it has to.
func TestREADMEFirstScreen(t *testing.T) {
	text, _ := readme(t)
	first, _, _ := strings.Cut(text, "\n## ")
	if n := strings.Count(first, "\n"); n >= 40 {
		t.Errorf("the first screen has %d lines, it must have fewer than 40", n)
	}
	for _, want := range []string{ // the commands of the first screen, as they were asked for
		"go run ./cmd/culvert\n",
		"curl -N -H 'Accept: text/event-stream' localhost:8080/rooms/lobby ",
		"curl 'localhost:8080/rooms/lobby?wait=20' ",
		`curl -H 'Idempotency-Key: 1' -d '{"text":"hello"}' localhost:8080/rooms/lobby` + "\n",
		`curl -H 'Idempotency-Key: 1' -d '{"text":"hello"}' localhost:8080/rooms/lobby ` + "  # duplicate:true",
		"ws://localhost:8080/rooms/lobby",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the first screen lacks %q", want)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		if len([]rune(line)) > 240 && !strings.HasPrefix(line, "|") {
			t.Errorf("line %d has %d characters", i+1, len([]rune(line)))
		}
	}
}

// TestREADMELinks: files that are linked are there.
func TestREADMELinks(t *testing.T) {
	text, _ := readme(t)
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("link to %s: %v", m[1], err)
		}
	}
}

// TestREADMENamesTests: the tests that the table of promises names exist.
func TestREADMENamesTests(t *testing.T) {
	text, _ := readme(t)
	named := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]+)` in \\[([a-z/]+)\\]").FindAllStringSubmatch(text, -1)
	if len(named) < 5 {
		t.Errorf("only %d tests are named", len(named))
	}
	for _, m := range named {
		files, err := filepath.Glob(filepath.Join("../..", m[2], "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(name string) bool {
			b, err := os.ReadFile(name)
			return err == nil && bytes.Contains(b, []byte("func "+m[1]+"("))
		}) {
			t.Errorf("there is no %s in %s", m[1], m[2])
		}
	}
}

// How a command of the README ends.
type ending int

const (
	byItself ending = iota
	never           // a reader, or a server: it is ended by the test
	notHere         // it cannot run inside this test; the reason is given
)

// commandsOfREADME: every command line of the README is here, in its order,
// with what its output must match. A line of the README that shows an output
// is checked too.
var commandsOfREADME = []struct {
	begins string
	ending ending
	output []string // expressions, each of which a line of the output matches
}{
	{"go run ./cmd/culvert", never, []string{`^culvert \S+ listens on http://localhost:\d+ \(store: memory\)$`}},
	{"curl -N -H 'Accept: text/event-stream' localhost:8080/rooms/lobby", never, []string{
		`^event: hello$`, `^data: \{"type":"hello","protocol":1,`,
		`^id: lobby=[0-9a-z]+\.1\.[0-9a-z]+$`, `^data: \{"type":"message","room":"lobby","offset":1,.*"data":\{"text":"hello"\}\}$`,
	}},
	{"curl 'localhost:8080/rooms/lobby?wait=20'", never, []string{`"messages":\[\{"type":"message",.*"data":\{"text":"hello"\}\}\],"cursor":"lobby=`}},
	{`curl -H 'Idempotency-Key: 1' -d '{"text":"hello"}' localhost:8080/rooms/lobby`, byItself, []string{`"offset":1,.*"duplicate":false\}$`}},
	{`curl -H 'Idempotency-Key: 1' -d '{"text":"hello"}' localhost:8080/rooms/lobby `, byItself, []string{`"offset":1,.*"duplicate":true\}$`}},
	{"curl 'localhost:8080/rooms/lobby?cursor=0&wait=0'", byItself, nil},
	{"curl 'localhost:8080/rooms/lobby/history?limit=10'", byItself, []string{`^\{"protocol":1,"room":"lobby","messages":\[\{.*"offset":1,.*"more":false\}$`}},
	{"curl localhost:8080/rooms/lobby/presence", byItself, []string{`^\{"protocol":1,"room":"lobby","members":\[\{"client":`}},
	{"curl localhost:8080/rooms/lobby/stats", byItself, []string{`"sse":1`}},
	{"printf ", byItself, []string{`^\{"protocol":1,"results":\[\{"status":201,"room":"lobby","offset":\d+,.*\},\{"status":201,"room":"news","offset":1,`}},
	{"curl -d 'plain text' localhost:8080/rooms/lobby", byItself, []string{`"duplicate":false\}$`}},
	{"go install ./cmd/culvert", byItself, nil},
	{"culvert version", byItself, []string{`^culvert \d+\.\d+\.\d+ \(commit .+, go1\.\S+ \S+\)$`}},
	{`culvert pub lobby '{"text":"hello again"}' --key 2`, byItself, []string{`"duplicate":false\}$`}},
	{"culvert sub lobby --from start --count 2", byItself, []string{`^\{"text":"hello"\}$`}},
	{"culvert bench --subscribers 200 --duration 2s", byItself, []string{`0 lost, 0 repeated, 0 out of order`}},
	{"culvert help serve", byItself, []string{`^Usage: culvert serve \[flags\]$`}},
	{"go test -race ./...", notHere, nil}, // it is running now
}

// TestREADMECommands runs the README's commands, as they are written, with the
// real curl against the program that "go run" builds. Only the port differs.
func TestREADMECommands(t *testing.T) {
	needtest.Program(t, "curl")
	_, blocks := readme(t)
	shell := newShell(t)
	next := 0
	var waiting []func()
	for i, b := range blocks {
		if b.language != "sh" {
			continue
		}
		for j, line := range b.lines {
			if next == len(commandsOfREADME) || !strings.HasPrefix(line+" ", commandsOfREADME[next].begins) {
				t.Fatalf("command %q is not the next one in the table", line)
			}
			c := commandsOfREADME[next]
			next++
			if c.ending == notHere {
				continue
			}
			output := c.output
			if j == len(b.lines)-1 && i+1 < len(blocks) && blocks[i+1].language == "text" {
				output = append(output, shown(blocks[i+1].lines)...)
			}
			out := shell.run(line, c.ending == never)
			check := func() {
				for _, pattern := range output {
					out.wait(t, pattern)
				}
			}
			switch {
			case c.ending == byItself:
				check()
				for _, wait := range waiting { // what was waiting has heard of it
					wait()
				}
				waiting = nil
			case shell.port == "":
				check()
				shell.port = out.wait(t, `listens on http://localhost:(\d+)`)
			default:
				waiting = append(waiting, check)
				waitForReaders(t, "http://localhost:"+shell.port, len(waiting))
			}
		}
	}
	if next != len(commandsOfREADME) {
		t.Errorf("the README lacks %q", commandsOfREADME[next].begins)
	}
}

// shown makes expressions of lines that the README shows as output, where …
// stands for anything.
func shown(lines []string) []string {
	for i := range lines {
		lines[i] = "^" + strings.ReplaceAll(regexp.QuoteMeta(lines[i]), "…", ".*") + "$"
	}
	return lines
}

// shell runs command lines as a user would, in the repository's folder.
type shell struct {
	t    *testing.T
	port string // of the server, once it has said so
	env  []string
}

func newShell(t *testing.T) *shell {
	bin := t.TempDir()
	return &shell{t: t, env: append(os.Environ(), "CULVERT_LISTEN=localhost:0", "GOBIN="+bin, "PATH="+bin+":"+os.Getenv("PATH"))}
}

func (s *shell) run(line string, background bool) *lines {
	s.t.Helper()
	env := s.env
	if s.port != "" {
		line = strings.ReplaceAll(line, "localhost:8080", "localhost:"+s.port)
		env = append(env, "CULVERT_URL=http://localhost:"+s.port)
	}
	cmd := osexec.Command("bash", "-c", line)
	cmd.Dir, cmd.Env = "../..", env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of a line's processes can be ended
	out := newLines()
	cmd.Stdout, cmd.Stderr = out, out
	if strings.HasPrefix(line, "curl") {
		cmd.Args[2] = strings.Replace(line, "curl", "curl -sS", 1) // no progress meter; nothing else changes
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		out.end()
	}()
	if background {
		s.t.Cleanup(func() {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			<-ended
		})
		return out
	}
	stop := context.AfterFunc(deadline(s.t), func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer stop()
	if err := <-ended; err != nil {
		s.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

// TestREADMEPages runs the README's scripts in Chromium.
func TestREADMEPages(t *testing.T) {
	needtest.Program(t, "chromium")
	_, blocks := readme(t)
	scripts := slices.DeleteFunc(blocks, func(b block) bool { return b.language != "js" })
	logs := [][]string{ // what each of them logs
		{`^\{"text":"hello from a page"\}$`},
		{
			`^\{"type":"hello",`, `^\{"type":"message","room":"lobby","offset":1,.*"data":\{"text":"hello"\}\}$`,
			`^\{"type":"reply","ref":1,"ok":true,"room":"lobby","offset":1,`,
		},
	}
	if len(scripts) != len(logs) {
		t.Fatalf("the README has %d scripts", len(scripts))
	}
	for i, b := range scripts {
		t.Run(b.lines[0], func(t *testing.T) {
			s := startServe(t)
			logged := openPage(t, strings.ReplaceAll(strings.Join(b.lines, "\n"), "localhost:8080", strings.TrimPrefix(s.url, "http://")))
			for _, pattern := range logs[i] {
				logged.wait(t, pattern)
			}
		})
	}
}

// openPage opens a page with a script in Chromium, and returns what it logs: one
// line of JSON each.
func openPage(t *testing.T, script string) *lines {
	t.Helper()
	logged := newLines()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<script>console.log = (x) => fetch("/log", {method: "POST", body: JSON.stringify(x) + "\n"})</script>`+
				`<script type="module">%s</script>`, script)
		case "/log":
			io.Copy(logged, r.Body)
		}
	}))
	t.Cleanup(page.Close)
	cmd := osexec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(),
		"--remote-debugging-port=0", page.URL) // the port keeps it from ending
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	})
	return logged
}

// TestREADMELimits: the defaults in the table are those of the program.
func TestREADMELimits(t *testing.T) {
	text, _ := readme(t)
	_, help, _ := exec(t, "", nil, "help", "serve")
	help = regexp.MustCompile(`\s+`).ReplaceAllString(help, " ")
	rows := regexp.MustCompile("(?m)^\\|.*\\| (\\w+) \\| `(--[a-z-]+)` \\|$").FindAllStringSubmatch(text, -1)
	if len(rows) < 10 {
		t.Errorf("only %d rows", len(rows))
	}
	for _, row := range rows {
		if !regexp.MustCompile(row[2] + ` [^$]*\(default ` + row[1] + `\)`).MatchString(help) {
			t.Errorf("%s is not %s", row[2], row[1])
		}
	}
}
