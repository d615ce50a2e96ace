package doctor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/proxy"
)

// proxyPorts are the ports of proxies that name none, by the schemes that are
// understood. (socks5 is as socks5h: the proxy looks names up.)
var proxyPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// proxyForms says what a proxy's address may be. The text that was given may
// hold a password, and is never told.
const proxyForms = "http://host:port, https://host:port or socks5://host:port, each with name:password@ before the host where the proxy wants them"

// parseProxy reads a proxy's address; it is nil where none is given.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || proxyPorts[u.Scheme] == "" || u.Hostname() == "" {
		return nil, errors.New("doctor: a proxy is " + proxyForms)
	}
	return u, nil
}

// through is the proxy for the server's address, nil for none.
func (d *doctor) through() (*url.URL, error) {
	target, err := url.Parse(d.base)
	if err != nil {
		return nil, err
	}
	u, err := d.http.Transport.(*http.Transport).Proxy(&http.Request{URL: target})
	if err != nil || u != nil && (proxyPorts[u.Scheme] == "" || u.Hostname() == "") {
		return nil, errors.New("doctor: the proxy that the environment names (HTTP_PROXY, HTTPS_PROXY) is not understood; it may be " + proxyForms)
	}
	return u, nil
}

// tunnel opens a connection for a WebSocket, through the proxy that plain
// requests use. An HTTP proxy takes a CONNECT for it, whose refusal is worth
// knowing by its status.
func (d *doctor) tunnel(ctx context.Context, network, address string) (net.Conn, error) {
	through, err := d.through()
	if err != nil {
		return nil, err
	}
	dialer := new(net.Dialer)
	if through == nil {
		return dialer.DialContext(ctx, network, address)
	}
	port := through.Port()
	if port == "" {
		port = proxyPorts[through.Scheme]
	}
	at := net.JoinHostPort(through.Hostname(), port)
	if strings.HasPrefix(through.Scheme, "socks5") {
		var auth *proxy.Auth
		if u := through.User; u != nil {
			auth = &proxy.Auth{User: u.Username()}
			auth.Password, _ = u.Password()
		}
		socks, err := proxy.SOCKS5(network, at, auth, dialer)
		if err != nil {
			return nil, err
		}
		return socks.(proxy.ContextDialer).DialContext(ctx, network, address)
	}
	c, err := dialer.DialContext(ctx, network, at)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	if through.Scheme == "https" {
		c = tls.Client(c, &tls.Config{ServerName: through.Hostname(), RootCAs: d.o.roots})
	}
	if err := connect(c, through, address); err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

func connect(c net.Conn, through *url.URL, address string) error {
	var head bytes.Buffer
	fmt.Fprintf(&head, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", address, address)
	if u := through.User; u != nil {
		password, _ := u.Password()
		fmt.Fprintf(&head, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	head.WriteString("\r\n")
	if _, err := c.Write(head.Bytes()); err != nil {
		return err
	}
	// The client speaks first in the tunnel, so nothing that the reader has
	// taken beyond the answer is lost.
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &connectError{resp.StatusCode}
	}
	return nil
}

// connectError: a proxy does not open a tunnel.
type connectError struct{ status int }

func (e *connectError) Error() string {
	return fmt.Sprintf("the proxy refuses CONNECT with status %d", e.status)
}

// socksOp is the operation of errors that came while a SOCKS proxy was asked.
const socksOp = "socks connect"

// socksReason says in a few words what came of asking a SOCKS proxy. Its own
// answers have no type.
func socksReason(err error) string {
	text := err.Error()
	if answer, ok := strings.CutPrefix(text, "unknown error "); ok {
		return "the SOCKS proxy refuses: " + answer
	}
	if notSOCKS(err) {
		return "what answers at its address does not speak SOCKS"
	}
	return "the SOCKS proxy gives no way: " + reason(err)
}

func notSOCKS(err error) bool { return strings.HasPrefix(err.Error(), "unexpected protocol version") }

// wantsPassword reports whether it is a name and a password that a proxy wants.
func wantsPassword(err error) bool {
	var refused *connectError
	var socks *net.OpError
	switch {
	case errors.As(err, &refused):
		return refused.status == http.StatusProxyAuthRequired
	case errors.As(err, &socks) && socks.Op == socksOp && socks.Err != nil:
		return strings.Contains(socks.Err.Error(), "authentication")
	}
	return false
}
