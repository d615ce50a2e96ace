// Package web holds the browser client: the scripts under dist, built from the
// TypeScript under src, and what goes with them. Who serves HTTP puts Files
// beside the rooms, for pages of any origin.
//
// It imports the standard library only.
package web

import (
	"embed"
	"io/fs"
)

//go:generate go run ../transport/codes/gen -dir ../transport/codes -ts src/codes.ts
//go:generate go run ./gen

//go:embed dist
var dist embed.FS

// Files are the built files: culvert.js and what is beside it. They are made by
// go generate ./web.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // It is in the binary.
		panic(err)
	}
	return files
}
