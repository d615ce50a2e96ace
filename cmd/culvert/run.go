package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/settings"
)

// What run returns, and what the program exits with. A second signal exits
// with 128 and the signal's number.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do its work
	exitUsage  = 2 // the command was called wrongly; nothing was done
)

// stdio is what a command reads and writes.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// command is one of the program's commands.
type command struct {
	name      string
	arguments string // as help shows them
	summary   string
	about     string // behind the summary in the command's help
	examples  string
	// declare declares the settings and returns what carries the command out.
	declare func(s *settings.Set) func(ctx context.Context, args []string, std stdio) error
}

func commands() []command {
	return []command{serveCommand(), pubCommand(), subCommand(), benchCommand(), doctorCommand(), versionCommand()}
}

// run is the program. It returns when the command is done, or soon after ctx
// ends.
func run(ctx context.Context, args, environ []string, in io.Reader, out, errOut io.Writer) int {
	std := stdio{in, out, errOut}
	name := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if wantsHelp(args) {
		name, args = "help", nil // of the program, not of the command that is meant by none
	} else if len(args) == 1 && (args[0] == "--version" || args[0] == "-version" || args[0] == "-v") {
		name, args = "version", nil // what people try first
	}
	if name == "help" {
		return help(args, std)
	}
	c, err := find(name)
	if err != nil {
		return fail(std, "culvert", err)
	}
	s := settings.New("culvert " + c.name)
	execute := c.declare(s)
	rest, err := s.Parse(args, environ)
	if errors.Is(err, settings.ErrHelp) {
		c.help(std.out)
		return exitOK
	}
	if err == nil {
		err = execute(ctx, rest, std)
	}
	if err != nil {
		return fail(std, "culvert "+c.name, err)
	}
	return exitOK
}

func wantsHelp(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0])
}

func fail(std stdio, prefix string, err error) int {
	fmt.Fprintf(std.err, "%s: %s\n", prefix, err)
	var usage *settings.Error
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

func find(name string) (command, error) {
	names := make([]string, 0, 8)
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	text := fmt.Sprintf("unknown command %q", name)
	if near := settings.Nearest(name, names); near != "" {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	return command{}, settings.Errorf("%s\nthe commands are %s and help", text, strings.Join(names, ", "))
}
