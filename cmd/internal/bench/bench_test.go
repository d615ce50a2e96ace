package bench_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench"
	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/bench/usage"
	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/transport/servertest"
)

// serve runs a whole server and returns its URL.
func serve(t *testing.T) string { return serveWith(t, servertest.Options{}) }

// serveWith runs one that is special. Its readers must have ended when the test
// does.
func serveWith(t *testing.T, o servertest.Options) string {
	t.Helper()
	o.Polled = true
	s := servertest.Start(t, o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Hub.Drain(ctx, 0); err != nil {
			t.Error(err)
		}
	})
	return s.URL
}

// run runs the bench and returns its result and error.
func run(t *testing.T, args ...string) (*report.Result, error) {
	t.Helper()
	s := settings.New("culvert bench")
	execute := bench.Declare(s, "test")
	rest, err := s.Parse(append([]string{"--json", "-", "--settle", "0", "--warm-up", "0", "--quiet"}, args...), nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	err = execute(ctx, rest, &out, io.Discard)
	if out.Len() == 0 {
		return nil, err
	}
	var r report.Result
	if e := json.Unmarshal([]byte(out.String()), &r); e != nil {
		t.Fatalf("%v in %s", e, out.String())
	}
	return &r, err
}

func TestEveryLoadIsDeliveredAndChecked(t *testing.T) {
	url := serve(t)
	for name, args := range map[string]string{
		"ws":               "--transport ws --outstanding 8",
		"sse":              "--transport sse --outstanding 8",
		"ndjson":           "--transport ndjson --outstanding 8",
		"poll":             "--transport poll --outstanding 8",
		"mixed in rooms":   "--transport mixed --rooms 7 --outstanding 20 --keys",
		"paced":            "--transport mixed --rate 500",
		"paced, at most":   "--transport mixed --rate 2000 --outstanding 2",
		"answered":         "--transport ws --rooms 50 --outstanding 16 --until answered --keys",
		"over WebSocket":   "--transport sse --rooms 5 --outstanding 64 --publish ws --keys",
		"in batches":       "--transport poll --rooms 5 --outstanding 4 --batch 25 --keys",
		"spread":           "--transport mixed --rooms 25 --outstanding 2 --batch 10 --spread",
		"portable":         "--transport mixed --outstanding 8 --portable",
		"stalled":          "--transport mixed --outstanding 8 --stalled 10%",
		"churning":         "--transport mixed --outstanding 8 --churn 500",
		"storm and side":   "--transport mixed --rooms 3 --outstanding 8 --storm 30 --side-rooms 4 --side-rate 200",
		"large":            "--transport mixed --outstanding 4 --size 40000",
		"more than polled": "--transport poll --outstanding 1000 --until answered",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := run(t, append(strings.Fields(args), "--url", url, "--subscribers", "50", "--messages", "200")...)
			if err != nil {
				t.Fatal(err, r)
			}
			if r.Checks.Faults() != 0 || r.Connect.Connections < 50 || r.Traffic.Published < 200 {
				t.Errorf("%+v, %+v, %+v", r.Checks, r.Connect, r.Traffic)
			}
			if strings.Contains(args, "storm") && (r.Storm == nil || r.Storm.Clients != 50 || r.Side == nil || r.Storm.Side == nil) {
				t.Errorf("storm %+v, side %+v", r.Storm, r.Side)
			}
			if strings.Contains(args, "churn") != (r.Checks.Churned > 0) {
				t.Errorf("%d left and came back", r.Checks.Churned)
			}
			// Every steady subscriber has every message of its room.
			rooms := int64(r.Load.Rooms)
			if !strings.Contains(args, "stalled") && !strings.Contains(args, "churn") && r.Traffic.Delivered < 200*50/rooms {
				t.Errorf("%d delivered", r.Traffic.Delivered)
			}
			if r.Latency == nil || r.Publish == nil {
				t.Error("no latency")
			}
		})
	}
}

// A server's own certificate is accepted where that is asked for, and no other
// time.
func TestTLS(t *testing.T) {
	url := serveWith(t, servertest.Options{TLS: true})
	args := []string{"--url", url, "--subscribers", "20", "--transport", "mixed", "--messages", "50", "--outstanding", "4"}
	r, err := run(t, append(args, "--insecure-tls")...)
	if err != nil || r.Checks.Faults() != 0 || r.Traffic.Delivered != 50*20 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := run(t, append(args, "--patience", "1s")...); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the flag: %v", err)
	}
}

// Compressed messages are checked as others are, and a server that does not
// compress is not measured as one that does.
func TestCompressed(t *testing.T) {
	url := serveWith(t, servertest.Options{DeflateFrom: 200})
	for _, size := range []string{"100", "2000"} { // the first stay as they are, which the extension allows
		for _, form := range []string{"--portable=false", "--portable"} {
			r, err := run(t, "--url", url, "--compress", form, "--subscribers", "20", "--transport", "mixed", "--messages", "50", "--outstanding", "4", "--size", size)
			if err != nil || r.Checks.Faults() != 0 || r.Traffic.Delivered != 50*20 {
				t.Errorf("%s bytes, %s: %+v, %v", size, form, r, err)
			}
		}
	}
	if _, err := run(t, "--url", serve(t), "--subscribers", "2", "--messages", "5", "--compress"); err == nil || !strings.Contains(err.Error(), "does not compress") {
		t.Errorf("a server that does not compress: %v", err)
	}
}

// Figures of a process that cannot be looked at are not zero: there are none.
func TestPID(t *testing.T) {
	url := serve(t)
	args := []string{"--url", url, "--subscribers", "2", "--messages", "5", "--outstanding", "1"}
	if _, err := usage.Of(os.Getpid()); err != nil {
		t.Skip(err)
	}
	if r, err := run(t, append(args, "--pid", strconv.Itoa(os.Getpid()))...); err != nil || r.CPU == nil || r.Memory == nil {
		t.Errorf("this process: %+v, %v", r, err)
	}
	if r, err := run(t, append(args, "--pid", strconv.Itoa(1<<30))...); err == nil || !strings.Contains(err.Error(), "--pid 1073741824: ") {
		t.Errorf("no process: %+v, %v", r, err)
	} else if !strings.Contains(err.Error(), "no such process") {
		t.Error(err)
	}
	if _, err := run(t, "--server-core", "4000", "--command", "true", "--url", url); err == nil || err.Error() != "--server-core: core 4000 is not one of this process's" {
		t.Error(err)
	}
}

// What a publish was answered with is one line of the table.
func TestRefusedPublishes(t *testing.T) {
	same := func(_, _ int, event string) []string { return []string{event} }
	server := httptest.NewServer(&faulty{change: same, full: 3, subs: map[string][]chan string{}, next: map[string]int{}})
	defer server.Close()
	defer server.CloseClientConnections()
	r, err := run(t, "--url", server.URL, "--transport", "sse", "--subscribers", "1", "--messages", "4", "--outstanding", "1", "--publishers", "1")
	if !errors.Is(err, bench.ErrFaults) || r.Checks.Unanswered != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	const want = "publish: answered with status 503: there is no more room (keys_full)"
	if len(r.Errors) != 1 || r.Errors[0].Text != want || r.Errors[0].Count != 2 {
		t.Errorf("%+v, want %s", r.Errors, want)
	}
}

// A server that does not take the first message takes none: the run ends there.
func TestRefusedFirstPublish(t *testing.T) {
	_, err := run(t, "--url", serve(t), "--subscribers", "1", "--header", "Content-Encoding: gzip")
	const want = "the first message was not taken: publish: answered with status 415: the body is compressed; allowed: no Content-Encoding, or identity (unsupported_encoding)"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Why a subscriber is refused is said in the server's words, however it reads.
func TestRefusedSubscribers(t *testing.T) {
	const body = `{"protocol":1,"error":{"code":"too_many_connections","message":"no more may come","allowed":"5"}}`
	const told = ": no more may come; allowed: 5 (too_many_connections)"
	for _, tt := range []struct {
		title  string
		status int
		write  func(w http.ResponseWriter)
		want   string
	}{
		{"in full", 503, func(w http.ResponseWriter) { io.WriteString(w, body) }, "refused: answered with status 503" + told},
		{"for good", 403, func(w http.ResponseWriter) { io.WriteString(w, body) }, "refused: answered with status 403" + told},
		{"in pieces", 503, func(w http.ResponseWriter) {
			io.WriteString(w, body[:20])
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
			io.WriteString(w, body[20:])
		}, "refused: answered with status 503" + told},
		{"to its half", 503, func(w http.ResponseWriter) {
			io.WriteString(w, body[:20])
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
			panic(http.ErrAbortHandler)
		}, "refused: answered with status 503, not by Culvert ("},
		{"in words", 502, func(w http.ResponseWriter) { io.WriteString(w, "no backend\n") }, "refused: answered with status 502, not by Culvert: no backend"},
		{"as a page", 502, func(w http.ResponseWriter) { io.WriteString(w, "<h1>no backend</h1>") }, "refused: answered with status 502, not by Culvert ("},
	} {
		for _, transport := range []string{"ws", "sse", "poll"} {
			if tt.title == "to its half" && transport == "poll" {
				continue // of a poll nothing is known before all of it is
			}
			t.Run(tt.title+" "+transport, func(t *testing.T) {
				t.Parallel()
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						w.WriteHeader(http.StatusCreated)
						io.WriteString(w, `{"offset":1}`)
						return
					}
					w.WriteHeader(tt.status)
					tt.write(w)
				}))
				defer server.Close()
				defer server.CloseClientConnections()
				_, err := run(t, "--url", server.URL, "--transport", transport, "--subscribers", "1", "--patience", "1s")
				if err == nil || !strings.Contains(err.Error(), transport+": "+tt.want) {
					t.Errorf("%v, want %s", err, tt.want)
				}
			})
		}
	}
}

// With one message outstanding no subscriber ever gets two in one read.
func TestOutstandingIsABound(t *testing.T) {
	r, err := run(t, "--url", serve(t), "--subscribers", "30", "--transport", "mixed", "--messages", "200", "--outstanding", "1")
	if err != nil || r.Traffic.PerRead > 1 || r.Traffic.Delivered != 200*30 {
		t.Errorf("%+v, %v", r.Traffic, err)
	}
}

// A publisher that was idle for long does not trust its connection.
func TestIdlePublishersDialAgain(t *testing.T) {
	var connections atomic.Int32
	url := serveWith(t, servertest.Options{State: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}})
	r, err := run(t, "--url", url, "--subscribers", "3", "--messages", "2", "--rate", "0.2", "--publishers", "1")
	if err != nil || r.Checks.Faults() != 0 || r.Traffic.Published != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if n := connections.Load(); n < 3+2 {
		t.Errorf("%d connections", n)
	}
}

func TestOnlyConnections(t *testing.T) {
	r, err := run(t, "--url", serve(t), "--subscribers", "40", "--transport", "mixed", "--duration", "0")
	if err != nil || r.Connect.Connections != 40 || r.Traffic.Published != 0 || r.Setting != "40 subscribers by all transports; no messages" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestReports(t *testing.T) {
	page, file := filepath.Join(t.TempDir(), "r.html"), filepath.Join(t.TempDir(), "r.json")
	s := settings.New("culvert bench")
	execute := bench.Declare(s, "test")
	_, err := s.Parse([]string{"--url", serve(t), "--subscribers", "5", "--messages", "5", "--outstanding", "1", "--settle", "0", "--warm-up", "0",
		"--html", page, "--json", file}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out, progress strings.Builder
	if err := execute(t.Context(), nil, &out, &progress); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{page: "once and in order", file: `"lost": 0`} {
		if text, err := os.ReadFile(name); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, no %q", name, err, want)
		}
	}
	if !strings.Contains(out.String(), "0 lost, 0 repeated") || !strings.Contains(progress.String(), "measuring") {
		t.Errorf("%s\n%s", out.String(), progress.String())
	}
}

// The page can take the table's place; a run that is refused leaves the files
// of the one before.
func TestPageOnStandardOutput(t *testing.T) {
	old := filepath.Join(t.TempDir(), "r.html")
	if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
		ok   bool
	}{
		{[]string{"--html", "-", "--url", serve(t), "--subscribers", "2", "--messages", "2", "--settle", "0", "--warm-up", "0", "--quiet"}, "<!doctype html>", true},
		{[]string{"--html", old, "--heap-profile", "/no/such/file"}, "", false},
	} {
		s := settings.New("culvert bench")
		execute := bench.Declare(s, "test")
		if _, err := s.Parse(tt.args, nil); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := execute(t.Context(), nil, &out, io.Discard); (err == nil) != tt.ok || !strings.HasPrefix(out.String(), tt.want) {
			t.Errorf("%q: %v, %.100q", tt.args, err, out.String())
		}
	}
	if text, err := os.ReadFile(old); err != nil || string(text) != "old" {
		t.Errorf("%q, %v", text, err)
	}
}

// A run that breaks off says so wherever it says something.
func TestInterrupted(t *testing.T) {
	page := filepath.Join(t.TempDir(), "r.html")
	s := settings.New("culvert bench")
	execute := bench.Declare(s, "test")
	if _, err := s.Parse([]string{"--url", serve(t), "--subscribers", "5", "--settle", "0", "--warm-up", "0", "--duration", "1m", "--html", page}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out strings.Builder
	err := execute(ctx, nil, &out, onMeasuring(cancel))
	if err == nil || err.Error() != "interrupted before its end" {
		t.Errorf("error %v", err)
	}
	text, err := os.ReadFile(page)
	if _, verdict, _ := strings.Cut(string(text), `class="verdict`); err != nil || !strings.HasPrefix(verdict, ` bad">The run broke off: interrupted before its end<`) {
		t.Errorf("the page does not say so: %v, %.100s", err, verdict)
	}
	if !strings.Contains(out.String(), "broke off               interrupted before its end") {
		t.Errorf("the table does not say so:\n%s", out.String())
	}
}

// What a server has used that is gone is not known, and is not less than nothing.
func TestServerEnds(t *testing.T) {
	if _, err := usage.Of(os.Getpid()); err != nil {
		t.Skip(err)
	}
	server := exec.Command("sleep", "60") // whose costs are taken for the server's
	if err := server.Start(); err != nil {
		t.Skip(err)
	}
	s := settings.New("culvert bench")
	execute := bench.Declare(s, "test")
	if _, err := s.Parse([]string{"--url", serve(t), "--pid", strconv.Itoa(server.Process.Pid), "--subscribers", "5", "--settle", "0", "--warm-up", "0",
		"--rate", "50", "--messages", "20"}, nil); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := execute(t.Context(), nil, &out, onMeasuring(func() {
		time.AfterFunc(50*time.Millisecond, func() {
			server.Process.Kill()
			server.Wait()
		})
	}))
	if err != nil || !strings.Contains(out.String(), "published               20 in") || !strings.Contains(out.String(), "the server's costs: no such process (") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "server, in all") || strings.Contains(out.String(), " 0 B after traffic") {
		t.Errorf("its figures are told:\n%s", out.String())
	}
}

// A server, or what is in front of it, may be away for a moment: the run goes on
// when it is back.
func TestAwayForAMoment(t *testing.T) {
	url := serve(t)
	_, to, _ := strings.Cut(url, "://")
	var mu sync.Mutex
	var open []net.Conn // guarded by mu
	relay := func(address string) net.Listener {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return nil
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				u, err := net.Dial("tcp", to)
				if err != nil {
					c.Close()
					continue
				}
				mu.Lock()
				open = append(open, c, u)
				mu.Unlock()
				go func() { io.Copy(u, c); u.Close() }()
				go func() { io.Copy(c, u); c.Close() }()
			}
		}()
		return l
	}
	cut := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range open {
			c.Close()
		}
		open = nil
	}
	l := relay("127.0.0.1:0")
	address := l.Addr().String()
	s := settings.New("culvert bench")
	execute := bench.Declare(s, "test")
	if _, err := s.Parse([]string{"--url", "http://" + address, "--subscribers", "8", "--transport", "mixed", "--settle", "0", "--warm-up", "0",
		"--rate", "20", "--messages", "40"}, nil); err != nil {
		t.Fatal(err)
	}
	back := make(chan net.Listener, 1)
	var out strings.Builder
	err := execute(t.Context(), nil, &out, onMeasuring(func() {
		time.AfterFunc(310*time.Millisecond, func() {
			l.Close()
			cut()
			time.Sleep(400 * time.Millisecond)
			back <- relay(address)
		})
	}))
	if !strings.Contains(out.String(), "published               40 in") || strings.Contains(out.String(), "broke off") ||
		!strings.Contains(out.String(), " 0 lost, 0 repeated, 0 out of order, 0 different") || strings.Contains(out.String(), "reconnects   0, 0\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if l := <-back; l != nil {
		l.Close()
	}
	cut()
}

// onMeasuring is called when progress says that it is measured.
type onMeasuring func()

func (f onMeasuring) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "measuring") {
		f()
	}
	return len(p), nil
}

// What goes wrong with a server ends the run with a word about it.
func TestBadServers(t *testing.T) {
	refuses := httptest.NewServer(http.NotFoundHandler())
	defer refuses.Close()
	odd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, `{"offset":1}`)
			return
		}
		io.WriteString(w, "hello") // no stream, no handshake, no poll
	}))
	defer odd.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tt := range []struct{ url, args, want string }{
		{refuses.URL, "", "404"},
		{odd.URL, "--transport ws", "status 200"},
		{odd.URL, "--transport poll", "not a JSON object"},
		{gone.URL, "", "publishing at " + strings.TrimPrefix(gone.URL, "http://") + " is not possible: connect: connection refused"},
		{"http://127.0.0.1:1", "--command /no/such/program", "no such file"},
		{"http://127.0.0.1:1", "--command false", "it ended"},
	} {
		_, err := run(t, append(strings.Fields(tt.args), "--url", tt.url, "--subscribers", "2", "--messages", "5", "--patience", "1s")...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q", tt.url, tt.args, err, tt.want)
		}
	}
}

func TestSettingsThatDoNotGoTogether(t *testing.T) {
	for _, args := range []string{
		"--command x", "--batch 2 --outstanding 2 --rate 3", "--url http://localhost:1 --server-core 0", "--url http://localhost:1 --profile x", "--pid 1",
		"--subscribers 0 --outstanding 1", "--peer nchan --url http://localhost:1 --transport ndjson", "--batch 2 --url http://localhost:1", "--spread", "--spread --batch 10 --outstanding 1 --rooms 9",
		"--stalled 60%", "--stalled x", "--rate -1", "--rate NaN", "--url ftp://x", "--url http://x?y=z", "--header x", "--size 10", "--transport smoke",
		"--storm 1000 --rooms 2000", "--url http://localhost:1 --serve-flags x", "--insecure-tls --url http://localhost:1",
		"--compress --transport sse",
	} {
		_, err := run(t, strings.Fields(args)...)
		var usage *settings.Error
		if !errors.As(err, &usage) {
			t.Errorf("%s: %v, want a usage error", args, err)
		}
	}
	for args, want := range map[string]string{
		"--storm 5 --subscribers 0":                   "--storm of 0 subscribers is nobody: it needs more --subscribers",
		"--stalled 1% --subscribers 5":                "--stalled 1% of 5 subscribers is nobody: it needs more --subscribers",
		"--churn 5 --subscribers 1":                   "--churn, which takes a tenth, of 1 subscribers is nobody: it needs more --subscribers",
		"--stalled 10% --duration 0":                  "--stalled is for the measurement, of which --duration 0 leaves nothing",
		"--profile x --duration 0":                    "--profile is for the measurement, of which --duration 0 leaves nothing",
		"--until answered":                            "--until is for --outstanding, and says when the next message may go out",
		"--rate 1e99":                                 `--rate: "1e99" is not allowed: it must be a number from 0 to 1000000`,
		"--rate 0":                                    "--rate 0 publishes nothing; --duration 0 measures connections alone",
		"--side-rate 5":                               "--side-subscribers and --side-rate are for --side-rooms, and there are none",
		"--messages 5 --duration 5s":                  "--messages and --duration both say how long is measured: give one of them",
		"--url localhost:1 --html /no/such/page.html": "--html: open /no/such/page.html: no such file or directory",
		"--url localhost:1 --html -":                  "--json and --html cannot both have the standard output",
		"--profile /no/such/file":                     "--profile: open /no/such/file: no such file or directory",
		"--json " + os.TempDir():                      "--json: " + os.TempDir() + " is a folder",
		"--profile a/b --heap-profile ./a/b":          "--profile: open a/b: no such file or directory",
		"--html new --heap-profile ./new":             "--html and --heap-profile are the same file, ./new",
	} {
		_, err := run(t, strings.Fields(args)...)
		var usage *settings.Error
		if !errors.As(err, &usage) || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
	if _, err := os.Stat("new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is only to be looked at was made: %v", err)
	}
	_, err := run(t, "--url", "http://localhost:1", "--command", " ")
	var usage *settings.Error
	if !errors.As(err, &usage) {
		t.Errorf("a command of nothing: %v", err)
	}
}
