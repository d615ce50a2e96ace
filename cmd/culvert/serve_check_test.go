package main

import (
	"strings"
	"testing"

	"github.com/culvertd/culvert/cmd/internal/settings"
)

// TestContradictions: settings that no server can keep together are refused at
// its start, by the names of their flags and with what would do.
func TestContradictions(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"--max-message-bytes 900KiB --history-bytes 100KiB",
			"--max-message-bytes 900KiB is more than --history-bytes 100KiB can hold: raise the latter to 901KiB at least\n"},
		{"--history-bytes 64KiB", "--max-message-bytes 64KiB is more than --history-bytes 64KiB can hold: raise the latter to 65KiB at least\n"},
		{"--max-message-bytes 2MiB", "--max-message-bytes 2MiB is more than --history-bytes 1MiB can hold: raise the latter to 2049KiB at least\n" +
			"--max-message-bytes 2MiB is more than --max-batch-bytes 1MiB: such a message could not come over WebSocket\n"},
		{"--max-message-bytes 5MiB --max-batch-bytes 5MiB --history-bytes 6MiB --memory 8MiB --store miniredis",
			"--max-message-bytes 5MiB is more than a half of --memory 8MiB, which is for what is on its way: raise the latter to 10242KiB at least\n"},
		{"--max-batch-bytes 1KiB", "--max-message-bytes 64KiB is more than --max-batch-bytes 1KiB: such a message could not come over WebSocket\n"},
		{"--compress-from 65KiB", "--compress-from 65KiB is more than --max-message-bytes 64KiB: nothing would be compressed\n"},
		{"--history-bytes 10MiB --memory 8MiB", "--history-bytes 10MiB is more than a half of --memory 8MiB, which is for the history of all rooms\n"},
		{"--redis-prefix live", "--redis-prefix is for a Redis: give its --store as well\n"},
		{"--store miniredis --max-rooms 5", "--max-rooms is for the memory store only: Redis has bounds of its own\n"},
		{"--store miniredis --max-keys 5", "--max-keys is for the memory store only: Redis has bounds of its own\n"},
		{"--bare-heartbeat x", "--bare-heartbeat is for a --bare-path, and there is none\n"},
		{"--bare-path /a/{room} --bare-path /a/{room}/", "--bare-path: bare paths /a/{room} and /a/{room}/ are the same\n"},
	} {
		status, out, errOut := exec(t, "", nil, append(strings.Fields(tt.args), "--listen", "localhost:0")...)
		if status != exitUsage || out != "" || errOut != "culvert serve: "+tt.want {
			t.Errorf("%s: status %d, err\n%swant\n%s", tt.args, status, errOut, tt.want)
		}
	}
}

// TestNoContradictions: what is at the bound is not beyond it.
func TestNoContradictions(t *testing.T) {
	for _, args := range []string{
		"", "--history-bytes 65KiB", "--max-message-bytes 1MiB --history-bytes 2MiB", "--compress-from 64KiB",
		"--memory 8MiB --history-bytes 4MiB", "--memory 8MiB --history-bytes 10MiB --store redis://localhost", "--store redis://localhost --redis-prefix live",
		"--bare-heartbeat x --bare-path /a/{room}/", "--max-rooms 5 --max-keys 5",
	} {
		o, s := new(serveOptions), settings.New("culvert serve")
		o.declare(s)
		if _, err := s.Parse(strings.Fields(args), nil); err != nil {
			t.Fatal(err)
		}
		if err := o.check(); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}
