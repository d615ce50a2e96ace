package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	osexec "os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/gorilla/websocket"
)

var nodesSeed = flag.Uint64("nodes.seed", 1, "seed of TestTransportsOnTwoNodes")

// redisServer is a redis-server whose process the test ends and starts.
type redisServer struct {
	t            *testing.T
	program, cli string
	address      string
	args         []string
	cmd          *osexec.Cmd
}

func newRedisServer(t *testing.T) *redisServer {
	s := &redisServer{
		t: t, address: freeAddress(t),
		program: needtest.Program(t, "redis-server", "valkey-server"), cli: needtest.Program(t, "redis-cli", "valkey-cli"),
	}
	_, port, _ := net.SplitHostPort(s.address)
	s.args = []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(), "--appendonly", "yes", "--appendfsync", "always"}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *redisServer) start() {
	s.t.Helper()
	said := newLines()
	s.cmd = osexec.Command(s.program, s.args...)
	s.cmd.Stdout, s.cmd.Stderr = said, said
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	said.wait(s.t, "Ready to accept connections")
}

func (s *redisServer) kill() {
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

func (s *redisServer) do(args ...string) {
	host, port, _ := net.SplitHostPort(s.address)
	osexec.Command(s.cli, append([]string{"-h", host, "-p", port}, args...)...).Run()
}

// received is what a reader needs of an envelope.
type received struct {
	Type   string          `json:"type"`
	Offset uint64          `json:"offset"`
	Epoch  string          `json:"epoch"`
	ID     string          `json:"id"`
	Data   json.RawMessage `json:"data"`
	Reason string          `json:"reason"`
	To     string          `json:"to"`
}

// roamer reads one room, each time at a random node over a random transport,
// always going on from the last thing that it has received.
type roamer struct {
	t      *testing.T
	name   string
	rng    *rand.Rand
	nodes  []string
	cursor string
	offset uint64
	got    []string
	gaps   []string
	used   map[string]int
}

func (r *roamer) take(text []byte) error {
	var m received
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	switch m.Type {
	case "message":
		if m.Offset != r.offset+1 {
			return fmt.Errorf("%s: after offset %d came %s", r.name, r.offset, text)
		}
		r.offset, r.cursor = m.Offset, fmt.Sprintf("room=%s.%d.%s", m.Epoch, m.Offset, m.ID)
		r.got = append(r.got, string(m.Data))
	case "gap":
		r.gaps = append(r.gaps, string(text))
		r.offset, r.cursor = 0, m.To // all history of a new epoch follows
	}
	return nil
}

// errBroken is what a connection that was cut ends with: not worth a word.
var errBroken = errors.New("the connection ended")

func (r *roamer) visit() error {
	url := r.nodes[r.rng.IntN(len(r.nodes))] + "/rooms/room"
	query := "?cursor=" + r.cursor
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(50+r.rng.IntN(400))*time.Millisecond)
	defer cancel()
	kind := []string{"ws", "sse", "stream", "poll"}[r.rng.IntN(4)]
	r.used[kind]++
	if kind == "ws" {
		return r.visitWS(ctx, strings.Replace(url, "http", "ws", 1)+query)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/"+kind+query+"&wait=1", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return errBroken
	}
	defer res.Body.Close()
	if res.StatusCode >= 500 {
		return errBroken
	}
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s answered %d %s", r.name, kind, res.StatusCode, body)
	}
	if kind == "poll" {
		var answer struct{ Messages []json.RawMessage }
		if json.NewDecoder(res.Body).Decode(&answer) != nil {
			return errBroken
		}
		for _, m := range answer.Messages {
			if err := r.take(m); err != nil {
				return err
			}
		}
		return nil
	}
	br := bufio.NewReader(res.Body)
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			return errBroken // a line that was cut off was not received
		}
		line = bytes.TrimSpace(line)
		if kind == "sse" {
			var ok bool
			if line, ok = bytes.CutPrefix(line, []byte("data: ")); !ok {
				continue
			}
		}
		if err := r.take(line); err != nil {
			return err
		}
	}
}

func (r *roamer) visitWS(ctx context.Context, url string) error {
	c, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		return errBroken
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	c.SetReadDeadline(deadline)
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			return errBroken
		}
		if err := r.take(text); err != nil {
			return err
		}
	}
}

// publishUntilDone publishes one message at a random node until that is
// answered, always with the same key.
func publishUntilDone(rng *rand.Rand, nodes []string, data string) error {
	client := &http.Client{Timeout: 3 * time.Second}
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodPost, nodes[rng.IntN(len(nodes))]+"/rooms/room", strings.NewReader(data))
		if err != nil {
			return err
		}
		req.Header.Set("Idempotency-Key", data)
		res, err := client.Do(req)
		if err != nil {
			continue
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case res.StatusCode < 300:
			return nil
		case res.StatusCode < 500 && res.StatusCode != http.StatusConflict:
			return fmt.Errorf("%s: %d %s", data, res.StatusCode, body)
		}
	}
	return fmt.Errorf("%s was not taken within a minute", data)
}

// TestTransportsOnTwoNodes: readers change node and transport at random, and
// publishers repeat with their keys, while connections to Redis are killed, and
// Redis is paused, killed and restarted. With its data nothing is lost,
// repeated or reordered, and there is no gap; without its data there is exactly
// one.
func TestTransportsOnTwoNodes(t *testing.T) {
	goroutines(t)
	server := newRedisServer(t)
	nodes := []string{
		startServe(t, "--store", "redis://"+server.address).url,
		startServe(t, "--store", "redis://"+server.address).url,
	}
	defer http.DefaultClient.CloseIdleConnections()
	t.Logf("seed %d", *nodesSeed)
	random := func(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(*nodesSeed, stream)) }

	const publishers, messages, readers = 3, 80, 8
	var publishing, reading sync.WaitGroup
	for p := range publishers {
		publishing.Go(func() {
			rng := random(uint64(p))
			for i := range messages {
				if err := publishUntilDone(rng, nodes, fmt.Sprintf("%d", p*1000+i)); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
			}
		})
	}
	all := make([]*roamer, readers)
	var mu sync.Mutex
	target := uint64(0) // the offset at which readers may stop, once it is known
	for i := range all {
		r := &roamer{t: t, name: fmt.Sprint("reader ", i), rng: random(uint64(100 + i)), nodes: nodes, cursor: "0", used: make(map[string]int)}
		all[i] = r
		reading.Go(func() {
			for begin := time.Now(); time.Since(begin) < 2*time.Minute; {
				if err := r.visit(); err != nil && !errors.Is(err, errBroken) {
					t.Error(err)
					return
				}
				mu.Lock()
				done := target > 0 && r.offset >= target
				mu.Unlock()
				if done {
					return
				}
			}
			t.Errorf("%s stands at %d", r.name, r.offset)
		})
	}
	rng := random(99)
	for range 12 {
		time.Sleep(time.Duration(100+rng.IntN(400)) * time.Millisecond)
		switch rng.IntN(4) {
		case 0:
			server.do("CLIENT", "KILL", "TYPE", "normal")
		case 1:
			server.do("CLIENT", "KILL", "TYPE", "pubsub")
		case 2:
			server.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rng.IntN(1500)) * time.Millisecond)
			server.cmd.Process.Signal(syscall.SIGCONT)
		case 3:
			server.kill()
			time.Sleep(time.Duration(rng.IntN(500)) * time.Millisecond)
			server.start()
		}
	}
	publishing.Wait()
	mu.Lock()
	target = publishers * messages
	mu.Unlock()
	reading.Wait()
	for _, r := range all {
		seen := make(map[string]bool, len(r.got))
		for _, data := range r.got {
			if seen[data] {
				t.Errorf("%s got %s twice", r.name, data)
			}
			seen[data] = true
		}
		if len(seen) != publishers*messages || len(r.gaps) > 0 || len(r.used) != 4 {
			t.Errorf("%s: %d messages, gaps %q, transports %v", r.name, len(seen), r.gaps, r.used)
		}
		if fmt.Sprint(r.got) != fmt.Sprint(all[0].got) {
			t.Errorf("%s and %s got another order", r.name, all[0].name)
		}
	}

	// Without its data: one gap for everybody, that says so.
	server.kill()
	server.args = append(server.args, "--dir", t.TempDir())
	server.start()
	if err := publishUntilDone(rng, nodes, `"after"`); err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		for begin := time.Now(); len(r.got) == publishers*messages && time.Since(begin) < time.Minute; {
			if err := r.visit(); err != nil && !errors.Is(err, errBroken) {
				t.Fatal(err)
			}
		}
		if len(r.gaps) != 1 || !strings.Contains(r.gaps[0], `"reason":"lost"`) || r.got[len(r.got)-1] != `"after"` {
			t.Errorf("%s after the loss: gaps %q, last %s", r.name, r.gaps, r.got[len(r.got)-1])
		}
	}
}
