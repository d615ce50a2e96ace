package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often at most the files of a certificate are looked at.
const lookEvery = time.Second

// Certificate is a certificate and its key, from two files that may be replaced
// while the server runs: connections that come afterwards get the new one.
type Certificate struct {
	certFile, keyFile string // set once
	logger            *slog.Logger

	mu sync.Mutex
	// guarded by mu
	current *tls.Certificate
	read    [2]stamp // the files when they were last read
	looked  time.Time
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	changed time.Time
	size    int64
}

// LoadCertificate reads a certificate chain and its key, both PEM.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	stamps, err := c.stamps()
	if err != nil {
		return nil, err
	}
	return c, c.loadLocked(stamps) // nobody else has it yet
}

// Config is for servers of HTTP/1.1 and HTTP/2, from TLS 1.2 on.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}
}

// get is asked at every handshake.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookEvery {
		c.looked = now
		c.refreshLocked()
	}
	return c.current, nil
}

// refreshLocked reads the files again if they have changed. While only one of
// them has, or what is there is not valid, the old certificate stays.
func (c *Certificate) refreshLocked() {
	stamps, err := c.stamps()
	if err == nil && stamps == c.read {
		return
	}
	if err == nil {
		err = c.loadLocked(stamps)
	}
	switch {
	case err == nil:
		c.logger.Info("the certificate has been replaced", "valid until", c.current.Leaf.NotAfter)
	case stamps != c.read:
		c.read = stamps // said once for each state of the files
		c.logger.Warn("the certificate cannot be read again: the old one stays", "error", err)
	}
}

func (c *Certificate) stamps() (s [2]stamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return [2]stamp{}, err
		}
		s[i] = stamp{info.ModTime(), info.Size()}
	}
	return s, nil
}

func (c *Certificate) loadLocked(stamps [2]stamp) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("%s and %s are no certificate and its key: %w", c.certFile, c.keyFile, err)
	}
	if until := pair.Leaf.NotAfter; time.Now().After(until) {
		c.logger.Warn("the certificate is not valid any more", "file", c.certFile, "valid until", until)
	}
	c.current, c.read = &pair, stamps
	return nil
}
