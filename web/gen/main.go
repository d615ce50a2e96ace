// Command gen writes the built files under web/dist, and removes what does not
// belong there. It is run by go generate, in the folder web.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/culvertd/culvert/web/internal/build"
)

func main() {
	if err := run("src", "dist"); err != nil {
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
