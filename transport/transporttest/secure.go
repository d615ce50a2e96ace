package transporttest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// SelfSigned makes a certificate for localhost and 127.0.0.1, and the roots with
// which a client takes it.
func SelfSigned() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}

// SelfSignedFiles writes such a certificate and its key into a folder, over those
// that are there.
func SelfSignedFiles(folder string) (certFile, keyFile string, roots *x509.CertPool, err error) {
	certificate, roots, err := SelfSigned()
	if err != nil {
		return "", "", nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return "", "", nil, err
	}
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}, keyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			return "", "", nil, err
		}
	}
	return certFile, keyFile, roots, nil
}

// Secure is a network on which everything is encrypted.
type Secure struct {
	Network
	server, client *tls.Config
}

// NewSecure encrypts a network. Servers on it take the protocols given, such as
// "h2"; clients that Dial speak HTTP/1.1.
func NewSecure(n Network, protocols ...string) (*Secure, error) {
	certificate, roots, err := SelfSigned()
	if err != nil {
		return nil, err
	}
	return &Secure{
		Network: n,
		server:  &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: protocols},
		client:  &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}},
	}, nil
}

// Accept accepts a connection whose handshake is still to come.
func (s *Secure) Accept() (net.Conn, error) {
	c, err := s.Network.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(c, s.server), nil
}

// Dial connects and shakes hands.
func (s *Secure) Dial(ctx context.Context) (net.Conn, error) {
	c, err := s.Network.Dial(ctx)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(c, s.client)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return secure, nil
}

// Client is an HTTP client that speaks HTTP/2, with windows so small that a
// stream which is not read stalls soon.
func (s *Secure) Client() *http.Client {
	return &http.Client{Transport: s.transport()}
}

func (s *Secure) transport() *http.Transport {
	config := s.client.Clone()
	config.NextProtos = []string{"h2"}
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := s.Network.Dial(ctx)
			if err != nil {
				return nil, err
			}
			secure := tls.Client(c, config)
			if err := secure.HandshakeContext(ctx); err != nil {
				c.Close()
				return nil, err
			}
			return secure, nil
		},
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
		HTTP2:              &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10},
	}
}

// bridge is a network whose server is reached over one HTTP/2 connection,
// whatever its clients speak: it lets the laws' clients, which write HTTP/1.1,
// hold a server to them over HTTP/2.
type bridge struct {
	*Secure // where the server listens
	in      *Loopback
	proxy   *http.Server
	client  *http.Transport
	done    chan struct{}
}

func newBridge(s *Secure) (*bridge, error) {
	in, err := NewLoopback(true)
	if err != nil {
		return nil, err
	}
	b := &bridge{Secure: s, in: in, client: s.transport(), done: make(chan struct{})}
	target := &url.URL{Scheme: "https", Host: "localhost"}
	b.proxy = &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
		},
		Transport: b.client, FlushInterval: -1, ErrorLog: quiet,
		ModifyResponse: func(r *http.Response) error {
			if r.ProtoMajor != 2 {
				return fmt.Errorf("the server speaks %s", r.Proto)
			}
			return nil
		},
	}, ErrorLog: quiet}
	go func() {
		defer close(b.done)
		b.proxy.Serve(in)
	}()
	return b, nil
}

// Dial connects to the bridge.
func (b *bridge) Dial(ctx context.Context) (net.Conn, error) { return b.in.Dial(ctx) }

// DialWebSocket goes to the server: there are no WebSockets over HTTP/2.
func (b *bridge) DialWebSocket(ctx context.Context) (net.Conn, error) { return b.Secure.Dial(ctx) }

var quiet = log.New(io.Discard, "", 0)

func (b *bridge) shut() {
	b.proxy.Close()
	<-b.done
	b.client.CloseIdleConnections()
}

// RunTLS runs the laws that need no virtual time over TLS: every transport over
// HTTP/1.1, and those that are plain requests over HTTP/2 as well.
func RunTLS(t *testing.T, start Start) {
	t.Run("http/1.1", func(t *testing.T) {
		runOver(t, realLaws(), start, func(t *testing.T) Network { return newSecure(t, "http/1.1") })
	})
	t.Run("h2", func(t *testing.T) {
		laws := slices.DeleteFunc(realLaws(), func(l law) bool { return slices.Equal(l.on, []string{WS}) })
		for i := range laws {
			if laws[i].on == nil {
				laws[i].on = Transports()
			}
			laws[i].on = slices.DeleteFunc(slices.Clone(laws[i].on), func(transport string) bool { return transport == WS })
		}
		runOver(t, laws, start, func(t *testing.T) Network {
			b, err := newBridge(newSecure(t, "h2", "http/1.1"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.shut)
			return b
		})
	})
}

func newSecure(t *testing.T, protocols ...string) *Secure {
	t.Helper()
	network, err := NewLoopback(true)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSecure(network, protocols...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
