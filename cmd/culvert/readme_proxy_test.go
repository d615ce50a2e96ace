package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/gorilla/websocket"
)

// TestREADMEProxies runs the README's configurations in the real proxies and
// reads every transport through them.
func TestREADMEProxies(t *testing.T) {
	for _, tt := range []struct {
		program, listen string
		arguments       func(folder, config string) []string
		// wrap makes a whole configuration, without anything of the system's.
		wrap func(folder, config string) string
	}{
		{"nginx", "listen 80;", func(folder, config string) []string { return []string{"-p", folder, "-c", config} },
			func(folder, config string) string {
				paths := ""
				for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
					paths += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, folder, kind)
				}
				return fmt.Sprintf("daemon off;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s\n}\n", folder, paths, config)
			}},
		{"haproxy", "bind :80", func(_, config string) []string { return []string{"-db", "-f", config} },
			func(_, config string) string { return config + "\n" }},
	} {
		t.Run(tt.program, func(t *testing.T) {
			t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
			needtest.Program(t, tt.program)
			_, blocks := readme(t)
			i := slices.IndexFunc(blocks, func(b block) bool { return b.language == tt.program })
			if i < 0 {
				t.Fatal("the README has no configuration of it")
			}
			config := strings.Join(blocks[i].lines, "\n")
			s := startServe(t)
			front := freeAddress(t)
			for old, new := range map[string]string{
				tt.listen:        strings.Replace(strings.Replace(tt.listen, ":80", front, 1), "listen 80", "listen "+front, 1),
				"127.0.0.1:8080": strings.Replace(strings.TrimPrefix(s.url, "http://"), "localhost", "127.0.0.1", 1),
			} {
				if !strings.Contains(config, old) {
					t.Fatalf("the configuration lacks %q", old)
				}
				config = strings.ReplaceAll(config, old, new)
			}
			runProxy(t, tt.program, front, config, tt.arguments, tt.wrap)
			readThrough(t, s.url, "http://"+front)
		})
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
