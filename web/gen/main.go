// Command gen writes the built files under web/dist and web/pages/dist, and
// removes what does not belong there. It is run by go generate, in the folder web.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/culvertd/culvert/web/internal/build"
)

func main() {
	if err := errors.Join(run("src", "dist"), pages("pages/src", "pages/dist")); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(src, dist string) error {
	files, err := build.Files(src)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, entry := range old {
		if _, ok := files[entry.Name()]; !ok {
			if err := os.Remove(filepath.Join(dist, entry.Name())); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dist, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pages writes the pages anew: nothing but built files is there.
func pages(src, dist string) error {
	files, err := build.Pages(src)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dist); err != nil {
		return err
	}
	for name, text := range files {
		to := filepath.Join(dist, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
