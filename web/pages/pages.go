// Package pages holds the built pages, a room to try and the doctor, and what
// the doctor says, here and in a terminal, in the same words.
package pages

import (
	"embed"
	"io/fs"
)

// Findings is a JSON object: what may be found out about a network, by code,
// each with its level, what the network does, and what Culvert does about it.
// A name in braces stands for a value of the finding's.
//
//go:embed findings.json
var Findings []byte

//go:embed dist
var dist embed.FS

// Files are the built files: index.html, doctor.html, and what they load under
// pages/. They are made by go generate ./web.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil { // It is in the binary.
		panic(err)
	}
	return files
}
