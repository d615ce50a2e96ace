package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
)

// noneHijacked fails a test in which net/http found a handler writing to a
// connection that it had given away.
func noneHijacked(t *testing.T, s *running) {
	t.Helper()
	if log := s.err.String(); strings.Contains(log, "hijacked") {
		t.Errorf("something is written to a connection that was given away:\n%s", log)
	}
}

// TestPollsKeepAlive: Go's client polls, publishes and asks for other things on
// one connection, although polls that wait are taken from the HTTP server.
func TestPollsKeepAlive(t *testing.T) {
	s := startServe(t, "--log-level", "debug")
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	connections := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			connections++
		}
	}})
	do := func(method, path, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	cursor := ""
	poll := func(wait int) (messages []json.RawMessage) {
		t.Helper()
		text := do("GET", fmt.Sprintf("/rooms/lobby?wait=%d&cursor=%s", wait, url.QueryEscape(cursor)), "")
		var answer struct {
			Messages []json.RawMessage
			Cursor   string
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || answer.Cursor == "" {
			t.Fatalf("%v in %s", err, text)
		}
		cursor = answer.Cursor
		return answer.Messages
	}
	cursor = "0"
	poll(0)
	published := make(chan struct{})
	for i := range 30 {
		if i%3 == 0 { // on the same connection, before the poll that finds it
			do("POST", "/rooms/lobby", fmt.Sprint(i))
		} else { // while the poll waits
			go func() {
				waitForReaders(t, s.url, 1)
				request(t, "POST", s.url+"/rooms/lobby", fmt.Sprint(i))
				published <- struct{}{}
			}()
		}
		if got := poll(50); len(got) != 1 || !strings.Contains(string(got[0]), fmt.Sprintf(`"data":%d}`, i)) {
			t.Fatalf("round %d: %s", i, got)
		}
		if i%3 != 0 {
			<-published
		}
		switch i % 5 {
		case 0:
			do("GET", "/rooms/lobby/history?limit=1", "")
		case 1:
			if text := do("GET", "/rooms/lobby?cursor=nonsense", ""); !strings.Contains(text, "bad_cursor") {
				t.Errorf("got %s", text)
			}
		}
	}
	if connections != 1 {
		t.Errorf("it took %d connections", connections)
	}
	noneHijacked(t, s)
}

// TestPublishesKeepAlive: Go's client publishes and asks for other things on one
// connection, although those that publish again and again are taken from the
// HTTP server; they count as connections all the same.
func TestPublishesKeepAlive(t *testing.T) {
	s := startServe(t, "--max-connections", "3")
	transport := &http.Transport{MaxConnsPerHost: 1}
	client := &http.Client{Transport: transport, Timeout: patience}
	connections := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		if !c.Reused {
			connections++
		}
	}})
	do := func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for i := range 60 {
		if status, text := do("POST", "/rooms/lobby", fmt.Sprint(i)); status != 201 || !strings.Contains(text, fmt.Sprintf(`"offset":%d,`, i+1)) {
			t.Fatalf("publish %d: %d %s", i, status, text)
		}
		switch i % 15 {
		case 4:
			if _, text := do("GET", "/rooms/lobby/history?limit=1", ""); !strings.Contains(text, fmt.Sprintf(`"data":%d}`, i)) {
				t.Errorf("round %d: %s", i, text)
			}
		case 9:
			do("POST", "/publish", `{"room":"other","data":1}`)
		case 14:
			do("POST", "/rooms/lobby/poll?wait=0", "")
		}
	}
	if connections != 1 {
		t.Errorf("it took %d connections", connections)
	}
	const publish = "POST /rooms/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1"
	for range 2 {
		c := send(t, s.url, publish)
		r := bufio.NewReader(c)
		for range 5 {
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 201 {
				t.Fatal(resp, err)
			}
			io.Copy(io.Discard, resp.Body)
			io.WriteString(c, publish)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(send(t, s.url, publish)), nil)
	if err != nil || resp.StatusCode != 503 {
		t.Errorf("the fourth connection: %v %v", resp, err)
	}
	transport.CloseIdleConnections()
}

// TestPollsKeepAliveWithCurl: the same of curl, which is not so patient with
// what it does not expect on a connection.
func TestPollsKeepAliveWithCurl(t *testing.T) {
	needtest.Program(t, "curl")
	s := startServe(t, "--log-level", "debug")
	args := []string{"--silent", "--show-error", "--write-out", `\n%{num_connects} %{http_code}\n`}
	want := []string{"1 200", "0 200", "0 200", "0 400", "0 200", "0 404", "0 200"}
	for _, path := range []string{"/rooms/a?wait=1", "/rooms/a?wait=1&n=1", "/healthz", "/rooms/a?wait=99", "/rooms/a/poll?wait=1", "/nothing", "/rooms/a/history"} {
		args = append(args, s.url+path)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := osexec.CommandContext(ctx, "curl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); len(line) == 5 {
			got = append(got, line)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("connections made and answers: %q, want %q\n%s", got, want, out)
	}
	noneHijacked(t, s)
}

// TestNothingIsWrittenToTakenConnections: net/http complains of nothing while
// every transport starts, is refused and ends.
func TestNothingIsWrittenToTakenConnections(t *testing.T) {
	s := startServe(t, "--log-level", "debug", "--bare-path", "/ws/{room}")
	readers := openReaders(t, s.url)
	waitForReaders(t, s.url, len(readers))
	const upgrade = " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	for _, text := range []string{
		"GET /rooms/bad!" + upgrade, "GET /rooms/lobby?cursor=x" + upgrade, "GET /ws/bad!" + upgrade, "GET /ws/lobby" + upgrade,
		"GET /rooms/lobby/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		"GET /rooms/lobby/sse HTTP/1.0\r\n\r\n", "POST /rooms/lobby/stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nfrom=start",
		"GET /rooms/lobby/sse?cursor=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		c := send(t, s.url, text)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		c.Close() // in the middle of whatever it is
	}
	const poll = "GET /rooms/lobby?wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n"
	for _, text := range []string{poll, poll + poll, poll + "GET /rooms/lobby/ws" + upgrade, poll + "x"} {
		send(t, s.url, text)
	}
	send(t, s.url, poll).Close()
	request(t, "POST", s.url+"/rooms/lobby", "1")
	s.cancel()
	for _, r := range readers {
		r.end()
	}
	if status := s.wait(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	noneHijacked(t, s)
}
