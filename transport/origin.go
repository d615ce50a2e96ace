package transport

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/culvertd/culvert/transport/codes"
)

// originSet is whose pages may use the server (PROTOCOL.md, section 15).
type originSet struct {
	all      bool
	loopback bool
	named    map[string]bool
}

func newOriginSet(o Options) originSet {
	set := originSet{loopback: o.LoopbackOrigins, named: make(map[string]bool)}
	for _, origin := range o.AllowOrigins {
		if origin == "*" {
			set.all = true
		} else {
			set.named[origin] = true
		}
	}
	return set
}

// allows reports whether a page of this origin may be answered, and whether it
// may ask with credentials.
func (set originSet) allows(r *http.Request, origin string) (allowed, credentials bool) {
	credentials = set.knows(r, origin)
	return credentials || set.all, credentials
}

// knows reports whether a page of this origin may also ask with credentials:
// whoever lets in everybody has not said that of anybody.
func (set originSet) knows(r *http.Request, origin string) bool {
	if set.named[origin] {
		return true
	}
	// The browser itself says that the page is the server's own. Pages cannot
	// set this header, and behind a proxy that rewrites Host it is all there is.
	if site := r.Header["Sec-Fetch-Site"]; len(site) == 1 && site[0] == "same-origin" {
		return true
	}
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok {
		return false // "null": a page without an origin
	}
	if strings.EqualFold(host, withoutDefaultPort(r.Host, scheme)) {
		return true
	}
	return set.loopback && isLoopback(host)
}

// withoutDefaultPort writes a Host as browsers write origins.
func withoutDefaultPort(host, scheme string) string {
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// isLoopback reports whether an origin's host, with or without a port, is this
// machine for the browser.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// What preflights are answered. GET and POST with text/plain need none.
const (
	corsMethods = "GET, HEAD, POST"
	corsHeaders = "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID"
	corsMaxAge  = "86400"
	corsExposed = "Retry-After"
)

// varyOrigin is the Vary of most answers. Header values are shared and never
// written to: net/http copies what it adds to.
var varyOrigin = []string{"Origin"}

// allowCredentials lets pages of other origins ask with credentials. The server
// looks at none, but a browser has connections of their own for such requests.
var allowCredentials = []string{"true"}

// originAllowed sets the CORS headers of the answer, whatever it will be. It
// answers preflights, and requests of pages that may not ask, and returns false
// then.
func (s *Server) originAllowed(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h["Vary"] = varyOrigin
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	allowed, credentials := s.allow.allows(r, origins[0])
	if !allowed || len(origins) > 1 {
		// Pages and scripts are the same for everybody, and browsers name the
		// origin when they load a module: behind a proxy that rewrites Host, the
		// page that explains this must come through.
		if s.servePage(w, r) {
			return false
		}
		s.faults.refusedOrigin(r, origins[0])
		codes.New(codes.OriginNotAllowed, "pages of this origin may not use this server").
			WithAllowed("the server's own origin, and those given by --allow-origin").WriteHTTP(w)
		return false
	}
	h["Access-Control-Allow-Origin"] = origins
	if credentials {
		h["Access-Control-Allow-Credentials"] = allowCredentials
	}
	if r.Method == http.MethodOptions && len(r.Header["Access-Control-Request-Method"]) > 0 {
		h.Set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", corsMaxAge)
		w.WriteHeader(http.StatusNoContent)
		return false
	}
	h.Set("Access-Control-Expose-Headers", corsExposed)
	return true
}
