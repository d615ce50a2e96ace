package main

import (
	"strings"
	"testing"
)

// TestPubAndSub: the small clients against the real server, over a restart of
// it that loses the memory store's rooms.
func TestPubAndSub(t *testing.T) {
	goroutines(t)
	server := startServe(t)
	pub := func(args ...string) string {
		t.Helper()
		status, out, errOut := exec(t, "from stdin\n", []string{"CULVERT_URL=" + server.url}, append([]string{"pub"}, args...)...)
		if status != exitOK || errOut != "" {
			t.Fatalf("pub %q: status %d, err %s", args, status, errOut)
		}
		return out
	}
	if out := pub("lobby", `{"n":1}`, "--key", "k"); !strings.Contains(out, `"offset":1,`) || !strings.HasSuffix(out, `"duplicate":false}`+"\n") {
		t.Errorf("pub: %s", out)
	}
	if out := pub("lobby", `{"n":1}`, "--key", "k"); !strings.Contains(out, `"offset":1,`) || !strings.HasSuffix(out, `"duplicate":true}`+"\n") {
		t.Errorf("pub again: %s", out)
	}
	status, _, errOut := exec(t, "", nil, "pub", "lobby", "other", "--key", "k", "--url", server.url)
	if status != exitFailed || !strings.Contains(errOut, "(key_conflict, HTTP 422)") {
		t.Errorf("pub with other content: status %d, %s", status, errOut)
	}

	sub := start(t, nil, "sub", "lobby", "news", "--from", "start", "--url", server.url)
	envelopes := start(t, nil, "sub", "lobby", "--last", "1", "--format", "envelope", "--presence", "--url", server.url)
	sub.out.wait(t, `^\{"n":1\}$`)
	envelopes.out.wait(t, `^\{"type":"message","room":"lobby","offset":1,.*"data":\{"n":1\}\}$`)
	pub("news", "-")
	sub.out.wait(t, `^"from stdin\\n"$`)
	pub("lobby", "gone soon", "--ephemeral")
	sub.out.wait(t, `^"gone soon"$`)

	address := strings.TrimPrefix(server.url, "http://")
	if status := server.stop(); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	sub.err.wait(t, "trying again in")
	server = start(t, nil, "--listen", address)
	server.url = server.err.wait(t, `listens on (\S+)`)
	sub.err.wait(t, "gap in lobby") // the new server's room has another history
	pub("lobby", "after the restart")
	sub.out.wait(t, `^"after the restart"$`)
	envelopes.out.wait(t, `^\{"type":"gap","room":"lobby"`)
	envelopes.out.wait(t, `"data":"after the restart"`)

	if status := sub.stop(); status != exitOK {
		t.Errorf("sub: exit status %d", status)
	}
	cursor := sub.err.wait(t, `to go on from here: --cursor '(.+)'`)
	pub("lobby", "behind the cursor")
	status, out, errOut := exec(t, "", nil, "sub", "lobby", "news", "--cursor", cursor, "--count", "1", "--url", server.url)
	if status != exitOK || out != `"behind the cursor"`+"\n" {
		t.Errorf("sub --cursor: status %d, out %q, err %s", status, out, errOut)
	}
	if lines := strings.Count(sub.out.String(), "\n"); lines != 4 {
		t.Errorf("sub printed %d lines, want 4:\n%s", lines, sub.out)
	}
	envelopes.stop()
	server.stop()
}

// TestSubStopsWhereItsOutputDoes: as in culvert sub | head -1.
func TestSubStopsWhereItsOutputDoes(t *testing.T) {
	server := startServe(t)
	request(t, "POST", server.url+"/rooms/lobby", "1")
	closed := writerFunc(func([]byte) (int, error) { return 0, errClosedPipe })
	var errOut strings.Builder
	status := run(t.Context(), []string{"sub", "lobby", "--from", "start", "--url", server.url}, nil, nil, closed, &errOut)
	if status != exitFailed || !strings.Contains(errOut.String(), errClosedPipe.Error()) {
		t.Errorf("status %d, err %s", status, errOut.String())
	}
}
