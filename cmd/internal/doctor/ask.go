package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// newClient makes an HTTP client that shows what came: it follows nothing and
// unpacks nothing. It speaks HTTP/1.1, where what becomes of a request is what
// becomes of its connection, as with a WebSocket.
func (d *doctor) newClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.ForceAttemptHTTP2 = false
	// The copy's own configuration offers HTTP/2 nevertheless, and HTTP/2's frames
	// would be taken for an answer.
	t.TLSClientConfig = &tls.Config{RootCAs: d.o.roots}
	t.MaxIdleConnsPerHost = 16
	if d.proxy != nil {
		t.Proxy = http.ProxyURL(d.proxy)
	}
	t.OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
		if resp.StatusCode != http.StatusOK {
			return &connectError{resp.StatusCode} // net/http has the status' text only
		}
		return nil
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is what came back.
type answer struct {
	status int
	proto  string
	header http.Header
	body   []byte
	took   time.Duration
	err    error // what the network did instead, or in the middle of the body
	stale  bool  // no answer began: the connection, which had been used before, ended just then
}

func (a answer) words() string {
	if a.err != nil {
		return reason(a.err)
	}
	return "status " + strconv.Itoa(a.status)
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// ask sends one request and reads the answer whole. path may have a query;
// headers are pairs.
func (d *doctor) ask(ctx context.Context, patience time.Duration, method, path, body string, headers ...string) answer {
	return d.askBy(ctx, d.http, patience, method, path, body, headers...)
}

// askBy is ask with another client.
func (d *doctor) askBy(ctx context.Context, by *http.Client, patience time.Duration, method, path, body string, headers ...string) answer {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kept := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { kept = c.Reused }})
	began := time.Now()
	resp, err := d.open(ctx, by, method, path, body, headers...)
	if err != nil {
		return answer{err: err, took: time.Since(began), stale: kept && broke(err)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return answer{status: resp.StatusCode, proto: resp.Proto, header: resp.Header, body: text, took: time.Since(began), err: err}
}

// open sends a request and returns with the head of the answer.
func (d *doctor) open(ctx context.Context, by *http.Client, method, path, body string, headers ...string) (*http.Response, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, d.base+path, reader)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "culvert-doctor")
	if !strings.HasPrefix(path, publishPath) {
		// A proxy may end a kept connection while a request is on its way. Browsers
		// send that again whatever its method; net/http does where there is this
		// header, which does not travel without a value.
		r.Header["X-Idempotency-Key"] = nil
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return by.Do(r)
}

// once makes a path that no cache has seen.
func (d *doctor) once(path string) string {
	asked := d.asked.Add(1)
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	return path + sep + "n=" + d.nonce + "-" + strconv.FormatInt(asked, 10)
}

// echoPath is where the server tells what arrived.
const echoPath = "/doctor/echo"

// echo is an answer of echoPath.
type echo struct {
	Echo, ID, Method, Protocol, Client string
	Target, Body                       int
	Headers                            map[string]any
	Time                               int64
	Uptime                             *int64 // milliseconds; nil from a server that does not tell
	Fill                               string
}

// errForeign: the answer is not the server's.
var errForeign = errors.New("the answer is not the server's")

// readEcho reads what should be an echo of a request for path.
func readEcho(a answer, path string) (echo, error) {
	var e echo
	if a.err != nil {
		return e, a.err
	}
	_, nonce, _ := strings.Cut(path, "n=")
	if a.status != http.StatusOK || json.Unmarshal(a.body, &e) != nil || e.Echo != nonce || e.ID == "" {
		return e, errForeign
	}
	return e, nil
}

// tryEcho asks for an echo up to three times, since a single failure says
// little.
func (d *doctor) tryEcho(ctx context.Context, method, query, body string, headers ...string) (e echo, a answer, err error) {
	for range 3 {
		path := d.once(echoPath + query)
		a = d.ask(ctx, d.o.Patience, method, path, body, headers...)
		if e, err = readEcho(a, path); err == nil || ctx.Err() != nil || refusal(a) {
			return e, a, err
		}
		d.failed++
	}
	return e, a, err
}

// refusal reports whether an answer would be the same again.
func refusal(a answer) bool {
	return a.err == nil && a.status >= 400 && a.status < 500 && a.status != http.StatusTooManyRequests
}

// reason says in a few words what the network did.
func reason(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	var refused *connectError
	var untrusted *tls.CertificateVerificationError
	var address *net.AddrError
	var socks *net.OpError
	var record tls.RecordHeaderError
	var netErr net.Error
	switch {
	case errors.As(err, &dns):
		return "the name " + dns.Name + " is not known"
	case errors.As(err, &untrusted):
		return distrust(untrusted.Err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return "what answers speaks HTTP, not HTTPS"
	case strings.Contains(err.Error(), "malformed HTTP"): // net/http's error has no type
		return "what answers does not speak HTTP"
	case errors.As(err, &address):
		return address.Err + " " + address.Addr
	case errors.As(err, &refused):
		return refused.Error()
	case errors.As(err, &socks) && socks.Op == socksOp && socks.Err != nil:
		return socksReason(socks.Err)
	case errors.As(err, &record):
		return "what answers does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection is refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "no answer in time"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	return err.Error()
}

// distrust says in a few words what is wrong with a certificate.
func distrust(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &unknown):
		return "the certificate is signed by nobody whom this device trusts; something on the way may show one of its own"
	case errors.As(err, &name):
		return "the certificate is for another name than " + name.Host
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired, or is not valid yet by this device's clock"
	}
	return "the certificate is not valid: " + err.Error()
}

// broke reports whether the other side, or something between, ended the
// connection, in contrast to silence.
func broke(err error) bool {
	var netErr net.Error
	return err != nil && !errors.Is(err, context.DeadlineExceeded) && !(errors.As(err, &netErr) && netErr.Timeout())
}
