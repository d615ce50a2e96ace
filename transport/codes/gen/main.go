// Command gen writes what is generated from codes.json: the Go and Markdown
// beside it, and with -ts a TypeScript file. With -check it writes nothing and
// exits with status 1 where a file is out of date.
//
// Paths are relative to the working directory, which under go generate is the
// package's; -dir names another one.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "codes:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", ".", "folder of codes.json, codes_gen.go and CODES.md")
	ts := flags.String("ts", "", "also write this TypeScript file")
	check := flags.Bool("check", false, "write nothing; fail where a file is out of date")
	if err := flags.Parse(args); err != nil {
		return err
	}
	source, err := os.ReadFile(filepath.Join(*dir, "codes.json"))
	if err != nil {
		return err
	}
	reg, err := parse(source)
	if err != nil {
		return err
	}
	outputs := []struct {
		path string
		make func(registry) ([]byte, error)
	}{
		{filepath.Join(*dir, "codes_gen.go"), goFile},
		{filepath.Join(*dir, "CODES.md"), markdownFile},
	}
	if *ts != "" {
		outputs = append(outputs, struct {
			path string
			make func(registry) ([]byte, error)
		}{*ts, typeScriptFile})
	}
	var stale []error
	for _, out := range outputs {
		want, err := out.make(reg)
		if err != nil {
			return err
		}
		have, err := os.ReadFile(out.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch {
		case err == nil && bytes.Equal(have, want):
		case *check:
			stale = append(stale, fmt.Errorf("%s is out of date: run go generate ./transport/codes", out.path))
		default:
			if err := os.WriteFile(out.path, want, 0o644); err != nil {
				return err
			}
		}
	}
	return errors.Join(stale...)
}
