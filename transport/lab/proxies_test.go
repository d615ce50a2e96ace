//go:build linux

package lab

import (
	"context"
	"crypto/tls"
	"embed"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"text/template"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

//go:embed conf
var conf embed.FS

// path is a way from a client to the server.
type path struct {
	// url is where the client finds the server, without a slash at its end.
	url string
	// proxy is the forward proxy that the client is to use; nil: none.
	proxy *url.URL
	// tls: url is https, with a certificate that nobody knows.
	tls bool
	// boxes of our own on the way.
	boxes []*middlebox.Box
	// forget makes every connection that is open now fall silent, while new ones
	// pass; nil: nobody can.
	forget func()
}

// client is an HTTP client on the path; like a browser it accepts gzip.
func (p *path) client() *http.Client {
	t := &http.Transport{DialContext: dial}
	if p.proxy != nil {
		t.Proxy = http.ProxyURL(p.proxy)
	}
	if p.tls {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the lab's own certificate
		t.ForceAttemptHTTP2 = true
	}
	return &http.Client{Transport: t}
}

// dial tries another port of its own where one is not answered: those of the
// connections that a kernel has forgotten stay silent, and the system may lend
// one of them again. It would try that one for two minutes.
func dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	for range 3 {
		c, err = d.DialContext(ctx, network, address)
		var e net.Error
		if !errors.As(err, &e) || !e.Timeout() || ctx.Err() != nil {
			break
		}
	}
	return c, err
}

// setting is what fills a configuration's template.
type setting struct {
	// Way, Global, More: lines of the software's own language, put where the
	// template says.
	Way, Global, More string
	Modules           []string
	// Target is where nginx sends requests; "": the upstream.
	Target string

	// Filled by configure.
	Dir, Upstream, UpstreamHost, UpstreamPort, Configuration string
	Port                                                     int
	Root                                                     bool
}

// configure writes a configuration and returns its file.
func configure(t testing.TB, name string, s *setting, upstream string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(upstream)
	if err != nil {
		t.Fatal(err)
	}
	s.Dir, s.Port, s.Root = directory(t), freePort(t), os.Getuid() == 0
	s.Upstream, s.UpstreamHost, s.UpstreamPort = upstream, host, port
	tmpl, err := template.ParseFS(conf, "conf/"+name+".tmpl")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.Dir, name)
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := tmpl.Execute(f, s); err != nil {
		t.Fatal(err)
	}
	return file
}

// launch starts a proxy and waits for it. A port that somebody else took in the
// meantime is tried again with another one.
func launch(t testing.TB, name, upstream string, s setting, args func(s *setting, file string) (string, []string)) *path {
	t.Helper()
	var err error
	for range 3 {
		filled := s
		file := configure(t, name, &filled, upstream)
		program, arguments := args(&filled, file)
		p := start(t, filled.Dir, program, arguments...)
		if err = p.ready(filled.Port); err == nil {
			return &path{url: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(filled.Port))}
		}
	}
	t.Fatalf("%s: %v", name, err)
	return nil
}

func nginx(t testing.TB, upstream string, s setting) *path {
	program := program(t, "nginx")
	return launch(t, "nginx.conf", upstream, s, func(s *setting, file string) (string, []string) {
		return program, []string{"-p", s.Dir, "-e", filepath.Join(s.Dir, "error.log"), "-c", file}
	})
}

func haproxy(t testing.TB, upstream string, s setting) *path {
	program := program(t, "haproxy")
	return launch(t, "haproxy.cfg", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"-db", "-f", file}
	})
}

func squid(t testing.TB, upstream string, s setting) *path {
	program := program(t, "squid")
	return launch(t, "squid.conf", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"-N", "-f", file}
	})
}

func varnish(t testing.TB, upstream string, s setting) *path {
	program := program(t, "varnishd")
	return launch(t, "varnish.vcl", upstream, s, func(s *setting, file string) (string, []string) {
		return program, []string{"-F", "-j", "none", "-n", filepath.Join(s.Dir, "work"),
			"-a", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)), "-f", file, "-s", "malloc,8m"}
	})
}

func apache(t testing.TB, upstream string, s setting) *path {
	program := program(t, "apache2")
	s.Modules = append([]string{"mpm_event", "authz_core", "env", "proxy", "proxy_http"}, s.Modules...)
	return launch(t, "apache.conf", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"-f", file, "-DFOREGROUND"}
	})
}

// tinyproxy stands in front of the server, as a reverse proxy.
func tinyproxy(t testing.TB, upstream string, s setting) *path {
	s.Way += "\nReverseOnly Yes\nReversePath \"/\" \"http://" + upstream + "/\"\n"
	program := program(t, "tinyproxy")
	return launch(t, "tinyproxy.conf", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"-d", "-c", file}
	})
}

// tinyproxyForward is one that the client is told to use.
func tinyproxyForward(t testing.TB, upstream string, s setting) *path {
	program := program(t, "tinyproxy")
	p := launch(t, "tinyproxy.conf", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"-d", "-c", file}
	})
	return forward(t, upstream, p)
}

// forward makes a path of a proxy that the client is told to use.
func forward(t testing.TB, upstream string, p *path) *path {
	t.Helper()
	proxy, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	return &path{url: "http://" + upstream, proxy: proxy, boxes: p.boxes}
}

// squidForward has the rules of Debian's configuration.
func squidForward(t testing.TB, upstream string) *path {
	program := program(t, "squid")
	p := launch(t, "squid-forward.conf", upstream, setting{}, func(_ *setting, file string) (string, []string) {
		return program, []string{"-N", "-f", file}
	})
	return forward(t, upstream, p)
}

// privoxy has Debian's actions and filters, and takes requests that were meant
// for the server, as where the network sends everything through it.
func privoxy(t testing.TB, upstream string, s setting) *path {
	program := program(t, "privoxy")
	if s.Configuration = "/etc/privoxy"; s.More != "" {
		// More actions, of the row's own.
		actions := filepath.Join(directory(t), "lab.action")
		if err := os.WriteFile(actions, []byte(s.More), 0o644); err != nil {
			t.Fatal(err)
		}
		s.More = "actionsfile " + actions
	}
	return launch(t, "privoxy.conf", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"--no-daemon", file}
	})
}

func caddy(t testing.TB, upstream string, s setting) *path {
	program := program(t, "caddy")
	if s.More == "" {
		s.More = "http"
	}
	p := launch(t, "Caddyfile", upstream, s, func(_ *setting, file string) (string, []string) {
		return program, []string{"run", "--adapter", "caddyfile", "--config", file}
	})
	if s.More == "https" {
		p.url, p.tls = "https"+p.url[len("http"):], true
		awaitCertificate(t, p)
	}
	return p
}

// awaitCertificate waits until the proxy has made its certificate.
func awaitCertificate(t testing.TB, p *path) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", p.url[len("https://"):], &tls.Config{InsecureSkipVerify: true}); err == nil {
			c.Close()
			return
		}
	}
	t.Fatal(err)
}

// box is a middlebox of our own.
func box(t testing.TB, upstream string, o middlebox.Options) *path {
	t.Helper()
	b, err := middlebox.Start(middlebox.Config{Upstream: upstream, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &path{url: b.URL(), boxes: []*middlebox.Box{b}}
}

// boxForward is one that the client is told to use.
func boxForward(t testing.TB, upstream string) *path {
	t.Helper()
	b, err := middlebox.Start(middlebox.Config{Forward: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return forward(t, upstream, &path{url: b.URL(), boxes: []*middlebox.Box{b}})
}

// iptables adds a rule to the network namespace of this process, which must be
// one of its own (see inNamespace).
func iptables(t testing.TB, rule ...string) {
	t.Helper()
	if said, err := exec.Command(program(t, "iptables"), rule...).CombinedOutput(); err != nil {
		missing(t, "iptables %v: %v: %s", rule, err, said)
	}
}
