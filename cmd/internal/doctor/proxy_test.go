package doctor

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
	"github.com/culvertd/culvert/transport/servertest"
)

// socksProxy is a SOCKS proxy that has one way: to server. With a password it
// wants ann and that; with refusal it answers so instead of opening the way.
type socksProxy struct {
	server, password string
	refusal          byte
	asked            atomic.Int64
}

// start returns the proxy's address, as host:port.
func (p *socksProxy) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return l.Addr().String()
}

func (p *socksProxy) serve(c net.Conn) {
	defer c.Close()
	take := func(n byte) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(c, b)
		return b
	}
	methods := take(take(2)[1])
	if p.password != "" {
		if !strings.Contains(string(methods), "\x02") {
			_, _ = c.Write([]byte{5, 0xff})
			return
		}
		_, _ = c.Write([]byte{5, 2})
		name := string(take(take(2)[1]))
		if password := string(take(take(1)[0])); name != "ann" || password != p.password {
			_, _ = c.Write([]byte{1, 1})
			return
		}
		_, _ = c.Write([]byte{1, 0})
	} else {
		_, _ = c.Write([]byte{5, 0})
	}
	switch take(4)[3] {
	case 1:
		take(4)
	case 3:
		take(take(1)[0])
	}
	take(2)
	p.asked.Add(1)
	_, _ = c.Write([]byte{5, p.refusal, 0, 1, 0, 0, 0, 0, 0, 0})
	if p.refusal != 0 {
		return
	}
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, c)
		_ = server.Close()
	}()
	_, _ = io.Copy(c, server)
}

// TestProxies: requests and WebSockets go through the proxy that is named,
// whatever it speaks. The server's name is known to the proxies alone.
func TestProxies(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	server := serve(t)
	secure := servertest.Start(t, servertest.Options{TLS: true}).Server
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	address := strings.TrimPrefix(server.URL, "http://")
	byTLS := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		own := &tls.Config{Certificates: secure.TLS.Certificates}
		box, err := middlebox.Start(middlebox.Config{Upstream: address, Listener: tls.NewListener(l, own)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(box.Close)
		return "https://" + box.Addr()
	}
	for name, tt := range map[string]struct{ url, proxy string }{
		"HTTP by HTTPS":              {"http://culvert.test", byTLS()},
		"HTTP by SOCKS":              {"http://culvert.test", "socks5://" + (&socksProxy{server: address}).start(t)},
		"HTTP by SOCKS, a password":  {"http://culvert.test", "socks5h://ann:hunter2@" + (&socksProxy{server: address, password: "hunter2"}).start(t)},
		"HTTPS by SOCKS, a password": {"https://example.com", "socks5://ann:hunter2@" + (&socksProxy{server: strings.TrimPrefix(secure.URL, "https://"), password: "hunter2"}).start(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick(tt.url)
			o.Proxy, o.roots = tt.proxy, roots
			o.Idle, o.Wait = 2*time.Second, 2*time.Second
			var r *Report
			for range 3 { // a busy machine can look like a bad network
				if r = examine(t, o); r.Has("clear") {
					break
				}
			}
			if !r.Has("clear") || r.Best != "websocket" {
				t.Errorf("best %q, %+v", r.Best, r.Findings)
			}
			if strings.Contains(r.Text(), "hunter2") {
				t.Error("the report shows a password")
			}
		})
	}
}

// TestProxiesRefuse: what a proxy says in the way of everything is told.
func TestProxiesRefuse(t *testing.T) {
	server := serve(t)
	address := strings.TrimPrefix(server.URL, "http://")
	wants := (&socksProxy{server: address, password: "hunter2"}).start(t)
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	mail, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mail.Close() })
	go func() {
		for {
			c, err := mail.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 mail.example.org\r\n")
			_ = c.Close()
		}
	}()
	for name, tt := range map[string]struct{ proxy, code, says string }{
		"SOCKS, no name":              {"socks5://" + wants, "proxy_auth", "wants a name and a password"},
		"SOCKS, another password":     {"socks5://ann:wrong@" + wants, "proxy_auth", "wants a name and a password"},
		"SOCKS, not allowed":          {"socks5://" + (&socksProxy{refusal: 2}).start(t), "unreachable", "the SOCKS proxy refuses: connection not allowed by ruleset."},
		"SOCKS, a dead server":        {"socks5://" + (&socksProxy{refusal: 5}).start(t), "unreachable", "the SOCKS proxy refuses: connection refused."},
		"no SOCKS":                    {"socks5://" + mail.Addr().String(), "proxy_unreachable", "what answers at its address does not speak SOCKS."},
		"no HTTPS":                    {strings.Replace(web.URL, "http", "https", 1), "proxy_unreachable", "what answers does not speak TLS."},
		"nobody at a SOCKS address":   {"socks5://127.0.0.1:1", "proxy_unreachable", "the connection is refused."},
		"nobody at an HTTPS address":  {"https://127.0.0.1:1", "proxy_unreachable", "the connection is refused."},
		"a certificate nobody trusts": {servertest.Start(t, servertest.Options{TLS: true}).URL, "proxy_unreachable", "the certificate is signed by nobody whom this device trusts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick("http://culvert.test")
			o.Proxy = tt.proxy
			r := examine(t, o)
			if r.Works || len(r.Findings) != 1 || r.Findings[0].Code != tt.code || !strings.Contains(r.Findings[0].Network, tt.says) {
				t.Errorf("%+v", r.Findings)
			}
		})
	}
}
