package redis

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestGrantFor: in the words of every server that was tried.
func TestGrantFor(t *testing.T) {
	for said, want := range map[string]string{
		// Redis 7.0, to a script and without one.
		"ERR The user executing the script can't run this command or subcommand":                                "+xadd",
		"ERR The user executing the script can't access at least one of the keys mentioned in the command args": "~p:1:*",
		"ERR The user executing the script can't publish to the channel mentioned in the command":               "&p:1:*",
		"NOPERM this user has no permissions to run the 'xadd' command":                                         "+xadd",
		"NOPERM this user has no permissions to access one of the keys used as arguments":                       "~p:1:*",
		"NOPERM this user has no permissions to access one of the channels used as arguments":                   "&p:1:*",
		// Since 7.2, Valkey as well.
		"ERR ACL failure in script: User keychannel has no permissions to run the 'xadd' command": "+xadd",
		"ERR ACL failure in script: No permissions to access a key":                               "~p:1:*",
		"ERR ACL failure in script: No permissions to access a channel":                           "&p:1:*",
		"NOPERM User keychannel has no permissions to run the 'xadd' command":                     "+xadd",
		"NOPERM No permissions to access a key":                                                   "~p:1:*",
		"NOPERM No permissions to access a channel":                                               "&p:1:*",
		// Valkey since 9.
		"ERR ACL failure in script: No permissions to access database": "db=3",
		"NOPERM No permissions to access database":                     "db=3",

		"WRONGTYPE Operation against a key holding the wrong kind of value":  "",
		"READONLY You can't write against a read only replica.":              "",
		"OOM command not allowed when used memory > 'maxmemory'.":            "",
		"ERR Can not execute the command on a stale replica":                 "",
		"NOAUTH Authentication required.":                                    "",
		"ERR Unknown Redis command called from script":                       "",
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL": "",
	} {
		if got := grantFor("XADD", said, "p:1:*", 3); got != want {
			t.Errorf("%s: %q, want %q", said, got, want)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	for said, want := range map[string]bool{
		"ERR Unknown Redis command called from script":                    true,
		"ERR Unknown command called from script":                          true, // Valkey
		"ERR unknown command 'EVALSHA', with args beginning with: ":       true,
		"ERR Unknown subcommand or wrong number of arguments for 'x'":     true,
		"WRONGTYPE Operation against a key holding the wrong kind of":     false,
		"ERR ACL failure in script: User unknown has no permissions to r": false,
	} {
		if got := unknownCommand(said); got != want {
			t.Errorf("%s: %t", said, got)
		}
	}
}

// TestRightsScriptIsComplete: it calls what the others call.
func TestRightsScriptIsComplete(t *testing.T) {
	files, err := filepath.Glob("scripts/*.lua")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	call := regexp.MustCompile(`\b(?:call|try|tidy)\('([A-Z]+)'`)
	commands := map[string][]string{}
	var tried []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			if filepath.Base(file) == "rights.lua" {
				tried = append(tried, m[1])
			} else if !slices.Contains(commands[m[1]], file) {
				commands[m[1]] = append(commands[m[1]], file)
			}
		}
	}
	if len(commands) < 15 {
		t.Errorf("the scripts call %v", commands)
	}
	for command, files := range commands {
		// Where MGET is not allowed, GET does.
		if command != "MGET" && !slices.Contains(tried, command) {
			t.Errorf("rights.lua does not try %s, which is in %v", command, files)
		}
	}
	for _, command := range tried {
		if commands[command] == nil {
			t.Errorf("rights.lua tries %s, which no script calls", command)
		}
	}
}
