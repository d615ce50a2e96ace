package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/gorilla/websocket"
)

// proxy is one for which the README has a configuration.
type proxy struct {
	program, listen string
	arguments       func(folder, config string) []string
	// wrap makes a whole configuration, without anything of the system's.
	wrap func(folder, config string) string
}

var nginx = proxy{"nginx", "listen 80;", func(folder, config string) []string { return []string{"-p", folder, "-c", config} },
	func(folder, config string) string {
		paths := ""
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			paths += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, folder, kind)
		}
		return fmt.Sprintf("daemon off;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s\n}\n", folder, paths, config)
	}}

var haproxy = proxy{"haproxy", "bind :80", func(_, config string) []string { return []string{"-db", "-f", config} },
	func(_, config string) string { return config + "\n" }}

// configurations are the README's for the proxy, the whole one first.
func (p proxy) configurations(t *testing.T) (texts []string) {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	needtest.Program(t, p.program)
	_, blocks := readme(t)
	for _, b := range blocks {
		if b.language == p.program {
			texts = append(texts, strings.Join(b.lines, "\n"))
		}
	}
	if len(texts) == 0 {
		t.Fatal("the README has no configuration of it")
	}
	return texts
}

// run starts the proxy at a free address with the configuration, in which texts
// are replaced.
func (p proxy) run(t *testing.T, config string, replaced map[string]string) (front string) {
	t.Helper()
	front = freeAddress(t)
	replaced[p.listen] = strings.Replace(strings.Replace(p.listen, ":80", front, 1), "listen 80", "listen "+front, 1)
	for old, new := range replaced {
		if !strings.Contains(config, old) {
			t.Fatalf("the configuration lacks %q", old)
		}
		config = strings.ReplaceAll(config, old, new)
	}
	runProxy(t, p.program, front, config, p.arguments, p.wrap)
	return front
}

// atNode is the address of a server's as the README's configurations write it.
func atNode(s *running) string {
	return strings.Replace(strings.TrimPrefix(s.url, "http://"), "localhost", "127.0.0.1", 1)
}

// TestREADMEProxies runs the README's configurations in the real proxies and
// reads every transport through them.
func TestREADMEProxies(t *testing.T) {
	for _, p := range []proxy{nginx, haproxy} {
		t.Run(p.program, func(t *testing.T) {
			config := p.configurations(t)[0]
			s := startServe(t)
			front := p.run(t, config, map[string]string{"127.0.0.1:8080": atNode(s)})
			readThrough(t, s.url, "http://"+front)
			openFromOwnPage(t, front)
		})
	}
}

// openFromOwnPage opens a WebSocket as a page does that came from the proxy, at a
// port of its own and a name that is not loopback's. Without TLS browsers do not
// say that it is the same origin.
func openFromOwnPage(t *testing.T, front string) {
	t.Helper()
	_, port, _ := net.SplitHostPort(front)
	host := "culvert.example:" + port
	socket, answer, err := websocket.DefaultDialer.DialContext(deadline(t), "ws://"+front+"/rooms/lobby",
		http.Header{"Host": {host}, "Origin": {"http://" + host}})
	if err != nil {
		t.Fatalf("a page of %s: %v, %+v", host, err, answer)
	}
	socket.Close()
}

// TestREADMENginxAfterRestarts: a node that is back is used at once, also where
// no node was there a moment before.
func TestREADMENginxAfterRestarts(t *testing.T) {
	config := nginx.configurations(t)[0]
	_, server, _ := strings.Cut(config, "server 127.0.0.1:8080")
	server, _, _ = strings.Cut(server, "\n")
	one, two := freeAddress(t), freeAddress(t)
	front := nginx.run(t, config, map[string]string{
		"server 127.0.0.1:8080" + server: "server " + one + server + "\nserver " + two + server,
	})
	for range 2 {
		if status, _ := request(t, "GET", "http://"+front+"/healthz", ""); status != http.StatusBadGateway {
			t.Fatalf("no node is there, and the answer is %d", status)
		}
	}
	startServe(t, "--listen", one)
	if status, answer := request(t, "GET", "http://"+front+"/healthz", ""); status != http.StatusOK {
		t.Errorf("a node is there: %d %s", status, answer)
	}
}

// TestREADMENginxAsks: the application decides who comes, on every transport.
func TestREADMENginxAsks(t *testing.T) {
	configs := nginx.configurations(t)
	if len(configs) != 2 {
		t.Fatalf("the README has %d configurations of nginx", len(configs))
	}
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, err := url.Parse(r.Header.Get("X-Original-URI"))
		if r.URL.Path != "/auth" || err != nil || asked.Query().Get("token") != "good" && r.Header.Get("Authorization") != "Bearer good" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(application.Close)
	s := startServe(t)
	front := nginx.run(t, configs[0], map[string]string{
		"127.0.0.1:8080": atNode(s),
		"location / {":   strings.Replace(configs[1], "127.0.0.1:9000", application.Listener.Addr().String(), 1) + "\nlocation / {\nauth_request /auth;",
	})
	for target, want := range map[string]int{
		"/rooms/lobby/poll?wait=0": 401, "/rooms/lobby/poll?wait=0&token=bad": 401, "/rooms/lobby/poll?wait=0&token=good": 200,
	} {
		if status, answer := request(t, "GET", "http://"+front+target, ""); status != want {
			t.Errorf("GET %s: %d %s", target, status, answer)
		}
	}
	if status, answer := request(t, "POST", "http://"+front+"/rooms/lobby?token=good", "a body that the application is not sent"); status != http.StatusCreated {
		t.Errorf("publish: %d %s", status, answer)
	}
	for token, want := range map[string]int{"bad": 401, "good": 101} {
		socket, answer, err := websocket.DefaultDialer.DialContext(deadline(t), "ws://"+front+"/rooms/lobby/ws?token="+token, nil)
		if answer == nil || answer.StatusCode != want {
			t.Errorf("WebSocket with the token %s: %v, %+v", token, err, answer)
		}
		if err == nil {
			socket.Close()
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func runProxy(t *testing.T, program, front, config string, arguments func(folder, config string) []string, wrap func(folder, config string) string) {
	t.Helper()
	folder := t.TempDir()
	name := filepath.Join(folder, "config")
	if err := os.WriteFile(name, []byte(wrap(folder, config)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(program, arguments(folder, name)...)
	said := newLines()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	for ctx := deadline(t); ctx.Err() == nil; {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, said)
		default:
		}
		if c, err := net.Dial("tcp", front); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("%s does not listen: %s", program, said)
}

// readThrough opens a reader of each transport at front, and publishes there.
func readThrough(t *testing.T, server, front string) {
	t.Helper()
	socket, _, err := websocket.DefaultDialer.DialContext(deadline(t), "ws"+strings.TrimPrefix(front, "http")+"/rooms/lobby", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	readers := make(map[string]*lines)
	for _, accept := range []string{"text/event-stream", "application/x-ndjson", "*/*"} {
		r, err := http.NewRequestWithContext(deadline(t), "GET", front+"/rooms/lobby?wait=55", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		got := newLines()
		readers[accept] = got
		go func() {
			defer got.end()
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				fmt.Fprintln(got, err)
				return
			}
			defer resp.Body.Close()
			for text := bufio.NewScanner(resp.Body); text.Scan(); {
				fmt.Fprintln(got, text.Text())
			}
		}()
	}
	waitForReaders(t, server, 4)
	readers["text/event-stream"].wait(t, `^data: \{"type":"hello"`) // it came before there was a message
	readers["application/x-ndjson"].wait(t, `^\{"type":"hello"`)
	if status, answer := request(t, "POST", front+"/rooms/lobby", `{"n":1}`); status != http.StatusCreated {
		t.Fatalf("publish: %d %s", status, answer)
	}
	for _, got := range readers {
		got.wait(t, `"type":"message".*"data":\{"n":1\}\}`)
	}
	socket.SetReadDeadline(time.Now().Add(patience))
	for {
		_, text, err := socket.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), `"data":{"n":1}`) {
			return
		}
	}
}
