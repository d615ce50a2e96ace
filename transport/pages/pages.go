// Package pages serves the browser client and the pages of Culvert's own from
// file systems that do not change, such as those embedded into the program.
package pages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// Pages are the files, read once.
type Pages struct {
	files map[string]*file // by path, with its leading slash
}

// Set is files that are served alike.
type Set struct {
	Files fs.FS
	// Shared: pages of every origin may load and read them, for there is nothing
	// in them that is anybody's, and keep them for a while. This is for scripts
	// that other people's pages name; their paths do not change with their
	// version.
	Shared bool
}

// How long a browser may use a file without asking whether it is still the same,
// which costs a 304 of a few bytes.
const (
	sharedFor = "public, max-age=300"
	ownFor    = "no-cache" // ask every time; it does not mean not to keep it
)

type file struct {
	kind    string
	html    bool
	shared  bool
	body    []byte
	gzip    []byte // nil where it saves nothing
	version string // of the content, for ETag
}

// kinds are the types of what is served; a file of any other ending is not.
// They are not left to the machine's own table, which differs.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".map":  "application/json",
	".json": "application/json",
	".ts":   "text/plain; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".ico":  "image/x-icon",
	".txt":  "text/plain; charset=utf-8",
}

// New reads the files. An index.html is found at its folder's path, and any
// other page without its ending: doctor.html at /doctor.
func New(sets ...Set) (*Pages, error) {
	p := &Pages{files: make(map[string]*file)}
	for _, set := range sets {
		if err := p.add(set); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
	}
	return p, nil
}

func (p *Pages) add(set Set) error {
	return fs.WalkDir(set.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind := kinds[path.Ext(name)]
		if kind == "" {
			return nil
		}
		body, err := fs.ReadFile(set.Files, name)
		if err != nil {
			return err
		}
		f := &file{kind: kind, html: path.Ext(name) == ".html", shared: set.Shared, body: body}
		sum := sha256.Sum256(body)
		f.version = base64.RawURLEncoding.EncodeToString(sum[:12])
		if f.gzip, err = compress(body, kind); err != nil {
			return err
		}
		switch at := "/" + name; {
		case path.Base(name) == "index.html":
			p.files[strings.TrimSuffix(at, "index.html")] = f
		case f.html:
			p.files[strings.TrimSuffix(at, ".html")] = f
		default:
			p.files[at] = f
		}
		return nil
	})
}

func compress(body []byte, kind string) ([]byte, error) {
	if strings.HasPrefix(kind, "image/png") || len(body) < 512 {
		return nil, nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil || b.Len() >= len(body) {
		return nil, err
	}
	return b.Bytes(), nil
}

// Serve answers GET and HEAD of a file. Where there is none it does nothing and
// returns false; so it does where there is a page and the client says what it
// accepts and does not name HTML: a program that lost its way wants an error
// that it can read.
func (p *Pages) Serve(w http.ResponseWriter, r *http.Request) bool {
	f := p.files[r.URL.Path]
	if f == nil {
		return p.withoutSlash(w, r)
	}
	if f.html && !acceptsHTML(r) {
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", ownFor)
	if f.shared {
		h.Set("Cache-Control", sharedFor)
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept-Encoding")
	if f.html {
		h.Add("Vary", "Accept")
		h.Set("Content-Security-Policy", policy(r.Host))
		h.Set("Referrer-Policy", "no-referrer")
	}
	body, tag := f.body, `"`+f.version+`"`
	if f.gzip != nil && acceptsGzip(r) {
		body, tag = f.gzip, `"`+f.version+`-gz"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	h.Set("Content-Type", f.kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // A client that is gone can be told nothing.
	}
	return true
}

// withoutSlash sends /doctor/ to /doctor: what the page names is relative to
// its address, so that it works below a prefix that a proxy takes away.
func (p *Pages) withoutSlash(w http.ResponseWriter, r *http.Request) bool {
	at, ok := strings.CutSuffix(r.URL.Path, "/")
	if f := p.files[at]; !ok || strings.HasSuffix(at, "/") || f == nil || !f.html || !acceptsHTML(r) {
		return false
	}
	target := "../" + path.Base(at)
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusPermanentRedirect)
	return true
}

// policy allows what these pages use, which is their own server. Browsers that
// do not count the server's WebSockets among 'self' are told its name.
func policy(host string) string {
	connect := "'self'"
	if plainHost(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + connect +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// plainHost reports whether a Host can stand in a header among other words.
func plainHost(host string) bool {
	for i := 0; i < len(host); i++ {
		c := host[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(".-:[]_", c) >= 0) {
			return false
		}
	}
	return host != "" && len(host) <= 255
}

// acceptsHTML reports whether Accept names HTML, as that of every browser does
// when a page is opened. */* is what programs send. Where there is none, a proxy
// has taken it away: behind that one, too, a person needs the doctor.
func acceptsHTML(r *http.Request) bool {
	if len(r.Header["Accept"]) == 0 {
		return true
	}
	for _, value := range r.Header["Accept"] {
		for element := range strings.SplitSeq(value, ",") {
			kind, params, err := mime.ParseMediaType(element)
			if err == nil && (kind == "text/html" || kind == "application/xhtml+xml") && !refused(params["q"]) {
				return true
			}
		}
	}
	return false
}

func acceptsGzip(r *http.Request) bool {
	for _, value := range r.Header["Accept-Encoding"] {
		for element := range strings.SplitSeq(value, ",") {
			name, rest, _ := strings.Cut(element, ";")
			q, _ := strings.CutPrefix(strings.TrimSpace(rest), "q=")
			if name = strings.TrimSpace(name); (name == "*" || strings.EqualFold(name, "gzip")) && !refused(q) {
				return true
			}
		}
	}
	return false
}

// refused reports whether a quality is zero.
func refused(q string) bool {
	f, err := strconv.ParseFloat(q, 64)
	return err == nil && f == 0
}

func matches(list, tag string) bool {
	for element := range strings.SplitSeq(list, ",") {
		if element = strings.TrimSpace(element); element == "*" || strings.TrimPrefix(element, "W/") == tag {
			return true
		}
	}
	return false
}
