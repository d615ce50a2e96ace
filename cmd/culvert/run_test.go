package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"
)

// exec runs the program with the arguments and returns what came of it.
func exec(t *testing.T, in string, environ []string, args ...string) (status int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), args, environ, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args    []string
		environ []string
		want    string
	}{
		{args: []string{"srv"}, want: "culvert: unknown command \"srv\"; did you mean serve?\nthe commands are serve, pub, sub, bench, doctor, version and help\n"},
		{args: []string{"frobnicate"}, want: "culvert: unknown command \"frobnicate\"\nthe commands are "},
		{args: []string{"help", "srv"}, want: "culvert help: unknown command \"srv\"; did you mean serve?"},
		{args: []string{"help", "a", "b"}, want: "culvert help: one command at most, not 2"},
		{args: []string{"--listne", "x"}, want: "culvert serve: unknown flag --listne; did you mean --listen?\n'culvert serve --help' lists the flags\n"},
		{args: []string{"serve", "now"}, want: `culvert serve: it takes flags only, not ["now"]`},
		{args: []string{"--heartbeat=1ms"}, want: `culvert serve: --heartbeat: "1ms" is not allowed: it must be a time in whole seconds from 1s to 1m, such as 15s`},
		{args: []string{"--heartbeat=1500ms"}, want: `culvert serve: --heartbeat: "1500ms" is not allowed: it must be a time in whole seconds from 1s to 1m, such as 15s`},
		{args: []string{"--poll-wait=1500ms"}, want: `culvert serve: --poll-wait: "1500ms" is not allowed: it must be a time in whole seconds from 1s to 55s, such as 20s`},
		{args: []string{"doctor", "localhost:1", "--wait=1500ms"}, want: `culvert doctor: --wait: "1500ms" is not allowed: it must be a time in whole seconds from 1s to 55s, such as 55s`},
		{environ: []string{"CULVERT_HEARTBEAT=often"}, want: `culvert serve: CULVERT_HEARTBEAT: "often" is not allowed: it must be a time in whole seconds from 1s to 1m`},
		{args: []string{"--log-format=xml"}, want: `culvert serve: --log-format: "xml" is not allowed: it must be text or json`},
		{args: []string{"--allow-origin=example.org"}, want: `culvert serve: --allow-origin: "example.org" is not allowed: it must be scheme://host`},
		{args: []string{"--bare-path=/ws/"}, want: `culvert serve: --bare-path: "/ws/" is not allowed: it must begin with / and contain {room} once`},
		{args: []string{"--bare-path=/rooms/{room}"}, want: `culvert serve: --bare-path: "/rooms/{room}" is not allowed: /rooms is Culvert's own; a good one is /ws/chat/{room}/`},
		{environ: []string{"CULVERT_BARE_PATH=/a{room}b"}, want: `culvert serve: CULVERT_BARE_PATH: "/a{room}b" is not allowed: segments are {room}, or made of`},
		{args: []string{"--allow-origin=https://Example.org"}, want: `culvert serve: --allow-origin: "https://Example.org" is not allowed: it must be scheme://host or scheme://host:port in lower case`},
		{args: []string{"--allow-origin=https://*.example.org"}, want: `culvert serve: --allow-origin: "https://*.example.org" is not allowed: it must be scheme://host or scheme://host:port in lower case, without a slash at the end, or * alone`},
		{args: []string{"--listen=localhost:0", "--pprof=nine"}, want: `culvert serve: --pprof: "nine" is no address: it must be host:port`},
		{args: []string{"--listen=localhost:0", "--pprof=0.0.0.0:0"}, want: `culvert serve: --pprof: "0.0.0.0:0" is refused: it can be reached from other machines, and profiles are for this one only.`},
		{args: []string{"--node-id=a b"}, want: `culvert serve: --node-id: "a b" is not allowed`},
		{args: []string{"--store=postgres://user:hunter2@db"}, want: `culvert serve: --store: the value is not allowed: redis: bad URL: unknown scheme, allowed are redis,`},
		{args: []string{"--store=disk"}, want: "culvert serve: --store: the value is not allowed: it must be memory, miniredis or a URL such as redis://localhost:6379\n"},
		{args: []string{"--redis-prefix={a}"}, want: `culvert serve: --redis-prefix: "{a}" is not allowed: it must be 1-64 characters of`},
		{args: []string{"--listen=0.0.0.0:0"}, want: `culvert serve: --listen: "0.0.0.0:0" is refused: it can be reached from other machines.`},
		{environ: []string{"CULVERT_LISTEN=:0"}, want: `culvert serve: --listen: ":0" is refused: it can be reached from other machines.`},
		{args: []string{"--listen=localhost"}, want: `culvert serve: --listen: "localhost" is no address: it must be host:port`},
		{args: []string{"--listen=localhost:http"}, want: `culvert serve: --listen: "http" is no port: it must be a number`},
		{args: []string{"pub"}, want: "culvert pub: it takes a room and one message, not 0 arguments"},
		{args: []string{"pub", "a", "b", "c"}, want: "culvert pub: it takes a room and one message, not 3 arguments (quote a message with spaces)"},
		{args: []string{"pub", "a/b", "x"}, want: `culvert pub: "a/b": bad room name: byte 2 is not one of`},
		{args: []string{"pub", "a", "x", "--key", "\n"}, want: `culvert pub: --key: "\n" is not allowed: a key is 1-200 bytes of printable ASCII`},
		{args: []string{"pub", "a", "x", "--url", "ftp://a"}, want: `culvert pub: --url: "ftp://a" is not allowed: it must be the address of a server`},
		{args: []string{"sub"}, want: "culvert sub: it takes at least one room"},
		{args: []string{"sub", ".."}, want: `culvert sub: "..": bad room name`},
		{args: []string{"sub", "a", "--cursor", "x"}, want: "culvert sub: --cursor: bad cursor"},
		{args: []string{"sub", "a", "--last", "1001"}, want: `culvert sub: --last: "1001" is not allowed: it must be a number from 0 to 1000`},
		{args: []string{"sub", "a", "--last", "2", "--from", "start"}, want: "culvert sub: --last and --from both say where to start: give one of them\n"},
		{args: []string{"sub", "a", "--from", "now"}, environ: []string{"CULVERT_LAST=2"}, want: "culvert sub: --last and --from both say where to start: give one of them\n"},
		{args: []string{"sub", "a", "--cursor", "a=0", "--last", "2"}, want: "culvert sub: --cursor and --last both say where to start: give one of them\n"},
		{args: []string{"sub", "a", "--cursor", "0", "--from", "start"}, want: "culvert sub: --cursor and --from both say where to start: give one of them\n"},
		{args: []string{"sub", "a", "--cursor", "b=0"}, want: "culvert sub: --cursor names none of the rooms that are to be read\n"},
		{args: []string{"sub", "a", "--presence"}, want: "culvert sub: --presence needs --format envelope"},
		{args: []string{"doctor"}, want: "culvert doctor: it takes the address of a server, such as http://localhost:8080"},
		{args: []string{"doctor", "ftp://a"}, want: "culvert doctor: \"ftp://a\": it must be the address of a server"},
		{args: []string{"doctor", "a", "--proxy", "socks4://ann:hunter2@b"}, want: "culvert doctor: --proxy: the value is not allowed: it must be http://host:port"},
		{args: []string{"version", "x"}, want: "culvert version: it takes no arguments"},
	} {
		status, out, errOut := exec(t, "", tt.environ, tt.args...)
		if status != exitUsage || out != "" || !strings.HasPrefix(errOut, tt.want) {
			t.Errorf("%q %q: status %d, out %q, err\n%s\nwant\n%s", tt.environ, tt.args, status, out, errOut, tt.want)
		}
		if strings.Contains(errOut, "hunter2") {
			t.Errorf("%q: the error shows a password:\n%s", tt.args, errOut)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"--help"}, {"-h"}, {"help", "help"}} {
		status, out, errOut := exec(t, "", nil, args...)
		if status != exitOK || errOut != "" {
			t.Errorf("%q: status %d, err %q", args, status, errOut)
		}
		for _, c := range commands() {
			if !strings.Contains(out, c.summary) {
				t.Errorf("%q does not tell of %s", args, c.name)
			}
		}
	}
	for _, c := range commands() {
		_, byFlag, _ := exec(t, "", nil, c.name, "--help")
		status, out, errOut := exec(t, "", nil, "help", c.name)
		if status != exitOK || errOut != "" || out != byFlag {
			t.Errorf("help %s: status %d, err %q", c.name, status, errOut)
		}
		if !strings.Contains(out, "\nUsage: culvert "+c.name) {
			t.Errorf("help %s:\n%s", c.name, out)
		}
		for line := range strings.Lines(out) {
			if len(line) > 101 || strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
				t.Errorf("help %s: too long, or blanks at its end: %q", c.name, line)
			}
		}
	}
}

// TestEverySettingIsNamed: the list of settings, as flag and variable.
func TestEverySettingIsNamed(t *testing.T) {
	_, out, _ := exec(t, "", nil, "help", "serve")
	for _, name := range strings.Fields(`listen insecure store redis-prefix history-messages history-bytes history-age room-ttl memory max-rooms dedupe-ttl
		max-keys max-message-bytes max-batch max-batch-bytes max-rooms-per-connection max-connections heartbeat write-timeout poll-wait
		bare-path bare-heartbeat allow-origin log-format log-level drain-timeout reconnect-spread node-id pprof`) {
		if !strings.Contains(out, "\n  --"+name) {
			t.Errorf("there is no --%s", name)
		}
		if env := "$CULVERT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "\n"; !strings.Contains(out, env) {
			t.Errorf("there is no %s", env)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version", "-v"} {
		status, out, _ := exec(t, "", nil, arg)
		if status != exitOK || !strings.HasPrefix(out, "culvert "+release+" (commit ") || !strings.Contains(out, "go1.") {
			t.Errorf("%s: status %d, %q", arg, status, out)
		}
	}
	for _, tt := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "culvert " + release + " (commit unknown, go"},
		{&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "culvert " + release + " (commit unknown, go"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "culvert 1.2.3 (commit unknown, go"},
		{&debug.BuildInfo{Main: debug.Module{Version: "v0.0.0-20260101000000-abcdef012345+dirty"}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: "abcdef0123456789"}, {Key: "vcs.modified", Value: "true"},
		}}, "culvert " + release + " (commit abcdef012345, changed since, go"},
	} {
		if got := versionLine(tt.info); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestConnectionsFitDescriptors(t *testing.T) {
	for _, tt := range []struct {
		wanted, descriptors, want int
		warned                    bool
	}{
		{1000, 0, 1000, false}, {1000, 1 << 20, 1000, false}, {1000, 1064, 1000, false}, {1000, 1063, 999, true}, {1000, 10, 1, true},
		{0, 0, usualConnections, false}, {0, 1 << 20, usualConnections, false}, {0, 1024, 960, false},
	} {
		var log bytes.Buffer
		o := &serveOptions{maxConnections: tt.wanted}
		o.fitConnections(slog.New(slog.NewTextHandler(&log, nil)), tt.descriptors)
		if o.maxConnections != tt.want || (log.Len() > 0) != tt.warned {
			t.Errorf("%d wanted with %d descriptors: %d, want %d; log %q", tt.wanted, tt.descriptors, o.maxConnections, tt.want, log.String())
		}
	}
	for _, tt := range []struct {
		memory, limit int64
		want          string
		warned        bool
	}{
		{512 << 20, 0, "msg=limits connections=7 descriptors=71\n", false},
		{512 << 20, 1 << 30, "descriptors=71 \"memory limit\"=1GiB\n", false},
		{512 << 20, 1<<30 - 2, "descriptors=71 \"memory limit\"=1073741822\n", true},
	} {
		var log bytes.Buffer
		o := &serveOptions{maxConnections: 7, memory: tt.memory}
		o.reportLimits(slog.New(slog.NewTextHandler(&log, nil)), 71, tt.limit)
		if !strings.HasSuffix(log.String(), tt.want) || strings.Contains(log.String(), "level=WARN") != tt.warned {
			t.Errorf("%+v: %s", tt, &log)
		}
	}
	if descriptorLimit() < 0 {
		t.Error("negative limit")
	}
}

func TestPubWithoutServer(t *testing.T) {
	status, out, errOut := exec(t, "", nil, "pub", "lobby", "hi", "--url", "http://127.0.0.1:1", "--timeout", "300ms")
	if status != exitFailed || out != "" || !strings.Contains(errOut, "culvert pub: http://127.0.0.1:1: ") || !strings.Contains(errOut, "connection refused") {
		t.Errorf("status %d, out %q, err\n%s", status, out, errOut)
	}
}

// An interrupt does not wait for the end of an input that has none.
func TestPubInterruptedWhileItReads(t *testing.T) {
	in, _ := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut bytes.Buffer
	if status := run(ctx, []string{"pub", "lobby"}, nil, in, &out, &errOut); status != exitFailed || errOut.String() != "culvert pub: reading the message: interrupted before its end\n" {
		t.Errorf("status %d, err %q", status, errOut.String())
	}
	in.Close()
}

// What a server says to sub is told with its address.
func TestSubOfSomethingElse(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	status, _, errOut := exec(t, "", nil, "sub", "lobby", "--url", server.URL)
	if status != exitFailed || errOut != "culvert sub: "+server.URL+": what answers there is not Culvert (HTTP 404: 404 page not found)\n" {
		t.Errorf("status %d, err %q", status, errOut)
	}
}

func TestSubWithoutServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut bytes.Buffer
	stopAfterReport := writerFunc(func(p []byte) (int, error) {
		cancel()
		return errOut.Write(p)
	})
	status := run(ctx, []string{"sub", "lobby", "--url", "http://127.0.0.1:1"}, nil, strings.NewReader(""), &out, stopAfterReport)
	if status != exitOK || !strings.Contains(errOut.String(), "connection refused; trying again in ") {
		t.Errorf("status %d, err\n%s", status, errOut.String())
	}
}

var errClosedPipe = errors.New("the pipe is closed")

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
