// Package web holds the browser client and serves it: the scripts under dist,
// built from the TypeScript under src, and what goes with them.
//
// It imports the standard library only. Who serves HTTP puts Handler beside the
// rooms:
//
//	files := web.Handler()
//	... for GET and HEAD of the paths in web.Paths: files.ServeHTTP(w, r)
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:generate go run ../transport/codes/gen -dir ../transport/codes -ts src/codes.ts
//go:generate go run ./gen

//go:embed dist
var dist embed.FS

// file is one file as it is served.
type file struct {
	mediaType     string
	etag          string
	text, gzipped []byte // gzipped is nil where it would not be smaller
}

// files are all of them by path, made once: there is nothing in them that
// changes.
type files map[string]*file

// mediaTypes by the end of the name, the first that fits.
var mediaTypes = [...]struct{ end, mediaType string }{
	{".js", "text/javascript; charset=utf-8"},
	{".map", "application/json"},
	{".ts", "text/plain; charset=utf-8"}, // video/mp2t elsewhere
}

func load() (files, error) {
	all := make(files)
	entries, err := fs.ReadDir(dist, "dist")
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(dist, "dist/"+entry.Name())
		if err != nil {
			return nil, err
		}
		f := &file{text: text}
		for _, m := range mediaTypes {
			if strings.HasSuffix(entry.Name(), m.end) {
				f.mediaType = m.mediaType
				break
			}
		}
		sum := sha256.Sum256(text)
		f.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(text); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		if b.Len() < len(text) {
			f.gzipped = b.Bytes()
		}
		all["/"+entry.Name()] = f
	}
	return all, nil
}

// Paths are the paths that Handler serves, sorted: /culvert.js and the others.
func Paths() []string {
	entries, err := fs.ReadDir(dist, "dist")
	if err != nil { // It is in the binary.
		panic(err)
	}
	var paths []string
	for _, entry := range entries {
		paths = append(paths, "/"+entry.Name())
	}
	slices.Sort(paths)
	return paths
}

// maxAge is how long a browser may use a script without asking again. It is
// short, for the path does not change with the version; asking again costs a
// 304 of a few bytes.
const maxAge = 5 * time.Minute

// Handler serves the files at their paths (Paths), and 404 elsewhere. It takes
// GET and HEAD. Any page may load them: there is nothing in them that is
// anybody's.
func Handler() http.Handler {
	all, err := load()
	if err != nil { // It is in the binary.
		panic(err)
	}
	return all
}

func (all files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := all[r.URL.Path]
	if f == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", f.mediaType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(maxAge.Seconds())))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Add("Vary", "Accept-Encoding")
	// Weak, for it is the same file compressed or not.
	etag := "W/" + f.etag
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	text := f.text
	if f.gzipped != nil && takesGzip(r.Header.Get("Accept-Encoding")) {
		h.Set("Content-Encoding", "gzip")
		text = f.gzipped
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodGet {
		_, _ = w.Write(text) // The client may be gone; nobody is left to tell.
	}
}

// matches reports whether an If-None-Match names the tag, weak or not.
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// takesGzip reads an Accept-Encoding.
func takesGzip(header string) bool {
	for element := range strings.SplitSeq(header, ",") {
		coding, quality, _ := strings.Cut(element, ";")
		if coding = strings.TrimSpace(coding); coding != "gzip" && coding != "*" {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(quality, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && weight > 0
	}
	return false
}
