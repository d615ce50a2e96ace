package doctor

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// hopeless says why not even a plain request gets through.
func (d *doctor) hopeless(a answer) string {
	switch {
	case a.status == http.StatusProxyAuthRequired || wantsPassword(a.err):
		d.find("proxy_auth")
		return "the proxy wants a name and a password"
	case a.err != nil && d.proxyFailed(a.err):
		d.find("proxy_unreachable", "error", reason(a.err))
		return "the proxy cannot be reached, " + reason(a.err)
	case a.err != nil:
		d.find("unreachable", "error", reason(a.err))
		return reason(a.err)
	case retryAfter(a) > 0:
		d.find("busy", "status", a.status)
	case a.status >= 300 && a.status < 400 && d.target(a) != "":
		to := d.target(a)
		d.find("moved", "address", to)
		return a.words() + ", to " + to
	case a.status >= http.StatusBadGateway && a.status <= http.StatusGatewayTimeout:
		d.find("server_down", "status", a.status)
	case a.status == http.StatusUnauthorized:
		d.find("login")
	case a.status == http.StatusNotFound && isNotFound(a.body):
		// The page's or a room's address was copied.
		if here, err := url.Parse(d.base); err == nil && here.Path != "" {
			path := here.Path
			here.Path, here.RawPath = "", ""
			d.find("wrong_path", "path", path, "address", here.Redacted())
			break
		}
		d.find("foreign", "status", a.status)
	case a.status < 400 && !json.Valid(a.body):
		d.find("portal", "status", a.status)
	default:
		d.find("foreign", "status", a.status)
	}
	return a.words()
}

// isNotFound reports whether it is Culvert that says so: gateways' errors look
// alike, but for the mark.
func isNotFound(body []byte) bool {
	var told struct {
		Protocol int
		Error    struct{ Code string }
	}
	return json.Unmarshal(body, &told) == nil && told.Protocol == 1 && told.Error.Code == "not_found"
}

// proxyFailed reports whether it is the proxy that cannot be reached.
func (d *doctor) proxyFailed(err error) bool {
	var op *net.OpError
	if d.report.Proxy == "" || !errors.As(err, &op) {
		return false
	}
	return op.Op == "dial" || op.Op == "proxyconnect" || op.Op == socksOp && op.Err != nil && notSOCKS(op.Err)
}

// target is the server's address where an answer leads to, as one would give it
// to the doctor; "" where it leads nowhere.
func (d *doctor) target(a answer) string {
	here, err := url.Parse(d.base + echoPath)
	if err != nil || a.header.Get("Location") == "" {
		return ""
	}
	to, err := here.Parse(a.header.Get("Location"))
	if err != nil || to.Host == "" {
		return ""
	}
	to.User, to.RawQuery, to.Fragment = nil, "", ""
	return strings.TrimSuffix(strings.TrimSuffix(to.String(), echoPath), "/")
}

func retryAfter(a answer) time.Duration {
	if a.err != nil || a.status < 429 {
		return 0
	}
	n, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || n < 1 {
		return 0
	}
	return time.Duration(n) * time.Second
}
