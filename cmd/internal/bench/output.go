package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/settings"
)

// stdout is the name of the standard output.
const stdout = "-"

// checkFiles finds at the beginning what could not be written at the end.
func (o *options) checkFiles() error {
	if o.json == stdout && o.html == stdout {
		return settings.Errorf("--json and --html cannot both have the standard output")
	}
	taken := make(map[string]string)
	for _, f := range []struct{ flag, name string }{
		{"--json", o.json}, {"--html", o.html}, {"--profile", o.profile}, {"--heap-profile", o.heap},
	} {
		if f.name == "" || f.name == stdout && (f.flag == "--json" || f.flag == "--html") {
			continue
		}
		clean := filepath.Clean(f.name)
		if other, ok := taken[clean]; ok {
			return settings.Errorf("%s and %s are the same file, %s", other, f.flag, f.name)
		}
		taken[clean] = f.flag
		if err := writable(f.name); err != nil {
			return settings.Errorf("%s: %s", f.flag, err)
		}
	}
	return nil
}

// writable tells whether a file can be written, and leaves it as it is.
func writable(name string) error {
	info, err := os.Stat(name)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder", name)
	case err == nil && !info.Mode().IsRegular():
		return nil // a pipe may not be opened twice
	case err != nil && !missing:
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	err = f.Close()
	if missing {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// write writes the result where it is wanted.
func (o *options) write(r *report.Result, out io.Writer) error {
	var err error
	if o.json != stdout && o.html != stdout {
		err = r.WriteTable(out)
	}
	return errors.Join(err, writeTo(o.json, out, func(w io.Writer) error {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		return err
	}), writeTo(o.html, out, r.WritePage))
}

// writeTo has write write a file, where there is a name of one.
func writeTo(name string, out io.Writer, write func(io.Writer) error) error {
	switch name {
	case "":
		return nil
	case stdout:
		return write(out)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
