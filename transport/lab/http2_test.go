//go:build linux

package lab

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"
)

// homePath, and then the lab's host, is where a page of the server's own origin
// is found, on a path that has one.
const homePath = "/lab/"

// http2Proxy is Go's reverse proxy with HTTP/2 to the client. With
// http2xconnect=1 it says that it takes WebSockets over HTTP/2 (RFC 8441), and
// sends them on as a CONNECT that nobody understands. What the setting is has to
// be known when a process starts, so that it is one of its own: this one again.
func http2Proxy(t testing.TB, upstream string) *path {
	t.Helper()
	return http2ProxyWith(t, upstream, "GODEBUG=http2xconnect=1")
}

// http2ProxyRefuses is one that speaks HTTP/2 and refuses WebSockets, for which
// browsers have connections of HTTP/1.1.
func http2ProxyRefuses(t testing.TB, upstream string) *path {
	t.Helper()
	return http2ProxyWith(t, upstream, "LAB_REFUSES=1")
}

func http2ProxyWith(t testing.TB, upstream, setting string) *path {
	t.Helper()
	port := freePort(t)
	host := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	p := start(t, directory(t), program(t, "env"), setting, "LAB_HTTP2_PROXY="+host, "LAB_UPSTREAM="+upstream, os.Args[0])
	if err := p.ready(port); err != nil {
		t.Fatal(err)
	}
	return &path{url: "https://" + host, tls: true}
}

// serveHTTP2Proxy is that process. It ends with an interrupt. What is asked for
// below homePath comes from the lab.
func serveHTTP2Proxy(host string) {
	l, err := net.Listen("tcp", host)
	if err != nil {
		panic(err)
	}
	server := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: os.Getenv("LAB_UPSTREAM")})
	lab := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		host, file, _ := strings.Cut(strings.TrimPrefix(r.In.URL.Path, homePath), "/")
		r.Out.URL = &url.URL{Scheme: "http", Host: host, Path: "/" + file}
	}}
	refuses := os.Getenv("LAB_REFUSES") != ""
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, homePath):
			lab.ServeHTTP(w, r)
		case refuses && r.Header.Get("Upgrade") != "":
			http.Error(w, "no WebSocket here", http.StatusForbidden)
		default:
			server.ServeHTTP(w, r)
		}
	}))
	s.Listener.Close()
	s.Listener, s.EnableHTTP2 = l, true
	s.StartTLS()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt)
	<-stop
}

// offersWebSocket tells whether SETTINGS_ENABLE_CONNECT_PROTOCOL is in what a
// server says first on HTTP/2.
func offersWebSocket(t *testing.T, p *path) bool {
	t.Helper()
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", u.Host, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) // the lab's own certificate
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	const settings, enableConnectProtocol = 4, 8
	if _, err := io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		t.Fatal(err)
	}
	var head [9]byte // length (24 bits), type, flags, stream
	if _, err := io.ReadFull(c, head[:]); err != nil || head[3] != settings {
		t.Fatalf("not a frame of settings: %x, %v", head, err)
	}
	body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, body); err != nil {
		t.Fatal(err)
	}
	for ; len(body) >= 6; body = body[6:] {
		if body[0] == 0 && body[1] == enableConnectProtocol { // and its value, 32 bits
			return body[5] == 1
		}
	}
	return false
}
