package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/settings"
)

func help(args []string, std stdio) int {
	switch len(args) {
	case 0:
		writeOverview(std.out)
		return exitOK
	case 1:
		if args[0] == "help" || wantsHelp(args) {
			writeOverview(std.out)
			return exitOK
		}
		c, err := find(args[0])
		if err != nil {
			return fail(std, "culvert help", err)
		}
		c.help(std.out)
		return exitOK
	}
	return fail(std, "culvert help", settings.Errorf("one command at most, not %d", len(args)))
}

func writeOverview(w io.Writer) {
	fmt.Fprint(w, `Culvert carries room messages to every client, over WebSocket, Server-Sent Events,
long-poll and NDJSON, in order, once, and never silently lost.

Usage: culvert [command] [flags]

`)
	for _, c := range commands() {
		name := c.name
		if c.name == "serve" {
			name = "serve (or none)"
		}
		fmt.Fprintf(w, "  %-18s%s\n", name, c.summary)
	}
	fmt.Fprintf(w, "  %-18s%s\n", "help [command]", "explain a command and its flags")
	fmt.Fprint(w, `
Every flag is also an environment variable: --log-format is CULVERT_LOG_FORMAT. A flag
beats the variable.

Exit status: 0 done, 1 failed, 2 called wrongly, 130 or 143 ended by a second signal.

In three terminals:

  culvert
  culvert sub lobby
  culvert pub lobby '{"text":"hello"}'
`)
}

func (c command) help(w io.Writer) {
	s := settings.New("culvert " + c.name)
	c.declare(s)
	usage := "culvert " + c.name
	if c.arguments != "" {
		usage += " " + c.arguments
	}
	fmt.Fprintf(w, "%s%s.\n", strings.ToUpper(c.summary[:1]), c.summary[1:])
	if c.about != "" {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(c.about))
	}
	fmt.Fprintf(w, "\nUsage: %s\n", usage)
	s.WriteFlags(w)
	if c.examples != "" {
		fmt.Fprintf(w, "\nExamples:\n\n%s\n", strings.Trim(c.examples, "\n"))
	}
}
