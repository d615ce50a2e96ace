package main

import (
	"errors"
	"os"
	"strings"
)

// The short table of the page stands between these, and so does its copy in
// another file.
const (
	shortBegins = "<!-- short table of bench-limits -->"
	shortEnds   = "<!-- end of the short table -->"
)

var errNoTable = errors.New("there is no short table in it: no " + shortBegins + " with " + shortEnds + " behind it")

// table is where the short table of a text begins and ends.
func table(text string) (from, to int, err error) {
	from = strings.Index(text, shortBegins)
	if from < 0 {
		return 0, 0, errNoTable
	}
	from += len(shortBegins)
	n := strings.Index(text[from:], shortEnds)
	if n < 0 {
		return 0, 0, errNoTable
	}
	return from, from + n, nil
}

// quoted is the text of a file with the short table of a page in place of its
// own.
func quoted(text, page string) (string, error) {
	from, to, err := table(page)
	if err != nil {
		return "", err
	}
	into, past, err := table(text)
	if err != nil {
		return "", err
	}
	return text[:into] + page[from:to] + text[past:], nil
}

// quote renews the short table in a file.
func quote(name, page string) error {
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	text, err := quoted(string(old), page)
	if err != nil {
		return &os.PathError{Op: "quoting in", Path: name, Err: err}
	}
	return os.WriteFile(name, []byte(text), 0o644)
}
