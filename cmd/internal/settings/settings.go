// Package settings reads what a command can be told: by a flag, by an
// environment variable of the same name, or by its default, in this order. A
// bad value is refused with the name under which it was given and with what is
// allowed there.
package settings

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrHelp is returned by Parse when the arguments ask for help.
var ErrHelp = errors.New("help wanted")

// Error is a mistake in how a program was called.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// Errorf makes an Error.
func Errorf(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

// Set is the settings of one command.
type Set struct {
	command string
	flags   *flag.FlagSet
	group   string
	all     []*Setting
}

// Setting is one of them. All fields but texts and given are set when it is
// declared.
type Setting struct {
	name, group, arg, usage string
	shown                   string // the default as help shows it, "" for none
	parse                   func(text string) error
	boolean, list, secret   bool

	texts []string // as given by flags
	given bool     // by a flag or a variable
}

// New makes the settings of a command, named as in "culvert serve".
func New(command string) *Set {
	s := &Set{command: command, flags: flag.NewFlagSet(command, flag.ContinueOnError)}
	s.flags.SetOutput(io.Discard)
	s.flags.Usage = func() {}
	return s
}

// Group starts a group of settings under a heading of the help text.
func (s *Set) Group(heading string) { s.group = heading }

func (s *Set) add(x *Setting) *Setting {
	x.group = s.group
	s.all = append(s.all, x)
	s.flags.Var((*recorder)(x), x.name, x.usage)
	return x
}

// Secret keeps the value out of error messages.
func (x *Setting) Secret() *Setting {
	x.secret = true
	return x
}

// NoDefault keeps the default out of the help text, where it is not a value
// that could be given.
func (x *Setting) NoDefault() *Setting {
	x.shown = ""
	return x
}

// Given tells whether a flag or a variable gave the value, once Parse has
// returned: one that is given without what it belongs to is a mistake, its
// default is not.
func (x *Setting) Given() bool { return x.given }

// String is the flag.
func (x *Setting) String() string { return "--" + x.name }

// Env is the environment variable of a flag.
func Env(name string) string {
	return "CULVERT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Parse reads the environment, then the arguments, and returns the arguments
// that are not flags; flags may stand before and behind them. The error is
// ErrHelp or an *Error.
func (s *Set) Parse(args, environ []string) ([]string, error) {
	rest, err := s.parseFlags(args)
	if err != nil {
		return nil, err
	}
	for _, x := range s.all {
		source, texts := x.String(), x.texts
		if len(texts) == 0 {
			source = Env(x.name)
			if text := lookup(environ, source); text != "" {
				texts = []string{text}
				if x.list {
					texts = strings.Fields(strings.ReplaceAll(text, ",", " "))
				}
			}
		}
		if !x.list && len(texts) > 1 {
			texts = texts[len(texts)-1:] // as everywhere: the last one counts
		}
		for _, text := range texts {
			if err := x.parse(text); err != nil {
				return nil, x.refuse(source, text, err)
			}
			x.given = true
		}
	}
	return rest, nil
}

func (s *Set) parseFlags(args []string) (rest []string, err error) {
	for {
		switch err := s.flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return nil, ErrHelp
		case err != nil:
			return nil, s.flagError(err)
		}
		left := s.flags.Args()
		// The flag package stops at the first argument that is no flag, and
		// behind a "--", after which nothing is a flag any more.
		if read := len(args) - len(left); len(left) == 0 || read > 0 && args[read-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

// flagError says in our words what the flag package found; it has no typed
// errors for the two things that can be wrong here.
func (s *Set) flagError(err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		name = strings.TrimLeft(name, "-")
		text := fmt.Sprintf("unknown flag --%s", name)
		if near := Nearest(name, s.names()); near != "" {
			text += fmt.Sprintf("; did you mean --%s?", near)
		}
		return Errorf("%s\n'%s --help' lists the flags", text, s.command)
	}
	if name, ok := strings.CutPrefix(err.Error(), "flag needs an argument: -"); ok {
		return Errorf("--%s needs a value", strings.TrimLeft(name, "-"))
	}
	return Errorf("%s\n'%s --help' lists the flags", err, s.command)
}

func (s *Set) names() []string {
	names := make([]string, len(s.all))
	for i, x := range s.all {
		names[i] = x.name
	}
	return names
}

func (x *Setting) refuse(source, text string, err error) error {
	if x.secret {
		return Errorf("%s: the value is not allowed: %s", source, err)
	}
	return Errorf("%s: %q is not allowed: %s", source, text, err)
}

func lookup(environ []string, name string) string {
	// The last one counts, as in os/exec.
	for _, e := range slices.Backward(environ) {
		if n, v, ok := strings.Cut(e, "="); ok && n == name {
			return v
		}
	}
	return ""
}

// recorder is the flag.Value of a setting: it keeps the text, so that flags and
// environment are read and refused in one place.
type recorder Setting

func (r *recorder) String() string        { return "" }
func (r *recorder) IsBoolFlag() bool      { return r.boolean }
func (r *recorder) Set(text string) error { r.texts = append(r.texts, text); return nil }
