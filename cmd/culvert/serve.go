package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/culvertd/culvert/cmd/internal/server"
	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/transport/conn"
)

func serveCommand() command {
	return command{
		name:      "serve",
		arguments: "[flags]",
		summary:   "run the server",
		about: `
The first SIGTERM or SIGINT shuts down: nobody new is let in, clients are told to come back
(bye), what is under way is finished within --drain-timeout. A second one exits at once.`,
		examples: `
  culvert serve
  culvert serve --listen localhost:9000 --history-messages 5000 --history-age 48h
  culvert serve --allow-origin https://example.org --log-format json
  culvert serve --listen localhost:8443 --tls-cert cert.pem --tls-key key.pem
  culvert serve --bare-path '/ws/chat/{room}/'       # pages of a Django Channels tutorial
  CULVERT_LISTEN=localhost:9000 culvert serve`,
		declare: func(s *settings.Set) func(context.Context, []string, stdio) error {
			o := new(serveOptions)
			o.declare(s)
			return o.run
		},
	}
}

func (o *serveOptions) run(ctx context.Context, args []string, std stdio) error {
	if len(args) > 0 {
		return settings.Errorf("it takes flags only, not %q", args)
	}
	if err := o.check(); err != nil {
		return err
	}
	logger := o.logger(std)
	o.fitConnections(logger, descriptorLimit())
	listeners, err := o.listenOn(ctx, "--listen", o.listen, o.insecure)
	if err != nil {
		return err
	}
	secure, err := o.tlsConfig(logger)
	closeListeners := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	if err != nil {
		closeListeners()
		return err
	}
	store, storeName, err := openStore(ctx, o, logger)
	if err != nil {
		closeListeners()
		return err
	}
	defer store.Close()
	n, err := o.assemble(store, listensOnLoopback(listeners), logger)
	if err != nil {
		closeListeners()
		return err
	}
	defer n.close()

	srv := server.New(listeners, server.Options{
		Handler: n.handler, Logger: logger,
		MaxConnections: o.maxConnections,
		ConnContext:    n.handler.ConnContext,
		TakenOver:      n.takenOver,
		TLS:            secure,
		Tuning:         o.connectionTuning(secure != nil),
		WriteTimeout:   o.writeTimeout,
	})
	srv.Start()
	failed := srv.Failed()
	if o.pprof != "" {
		profiles, err := o.serveProfiles(ctx, logger)
		if err != nil {
			srv.Shutdown(ctx)
			return err
		}
		defer func() {
			now, cancel := context.WithCancel(context.Background())
			cancel() // a profile being taken is not waited for
			profiles.Shutdown(now)
		}()
	}
	o.announce(std, logger, srv.Addr(), storeName, secure != nil)
	o.reportLimits(logger, descriptorLimit(), memoryLimit())
	idle, stopIdle := context.WithCancel(ctx)
	defer stopIdle()
	go newIdler(func() int64 { return n.hub.Stats().Delivered }).run(idle)

	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("listening broke: %w", err)
	}
	o.drain(n, srv, logger)
	return err
}

// usualConnections is the most connections where --max-connections says nothing.
const usualConnections = 100_000

// spareDescriptors are for everything that is not a client's connection:
// listeners, the store, the poller, name resolution.
const spareDescriptors = 64

// fitConnections makes --max-connections what the system allows: a connection
// that is refused in words is better than one that cannot be accepted.
func (o *serveOptions) fitConnections(logger *slog.Logger, descriptors int) {
	wanted := o.maxConnections
	if wanted == 0 {
		o.maxConnections = usualConnections
	}
	if descriptors == 0 || o.maxConnections <= descriptors-spareDescriptors {
		return
	}
	o.maxConnections = max(descriptors-spareDescriptors, 1)
	if wanted != 0 {
		logger.Warn("the system allows fewer connections than --max-connections",
			"wanted", wanted, "allowed", o.maxConnections, "descriptors", descriptors)
	}
}

// reportLimits says what the server has to get along with.
func (o *serveOptions) reportLimits(logger *slog.Logger, descriptors int, memory int64) {
	attrs := []any{"connections", o.maxConnections}
	if descriptors > 0 {
		attrs = append(attrs, "descriptors", descriptors)
	}
	if memory > 0 {
		attrs = append(attrs, "memory limit", settings.FormatSize(memory))
		// What messages take is not all: the rest of the heap, and its growth
		// between two collections.
		if o.memory > memory/2 {
			logger.Warn("--memory is more than a half of what this process may have: set it lower, or allow more",
				"memory", settings.FormatSize(o.memory), "memory limit", settings.FormatSize(memory))
		}
	}
	logger.Info("limits", attrs...)
}

// connections is how many connections the transports have taken over from the
// HTTP server. Polls that wait with a handler are still its own.
func (n *node) connections() int {
	count := n.handler.Parked()
	for transport, subscribers := range n.hub.Stats().Subscribers {
		if transport != "poll" {
			count += subscribers
		}
	}
	return count
}

// takenOver is how many of them the HTTP server does not know any more. Streams
// over HTTP/2 are on connections that it has.
func (n *node) takenOver() int { return n.connections() - n.streams.Staying() }

// connectionTuning is for connections from their beginning. The transports tune
// those that they take over; over TLS polls and HTTP/2 are never taken over. A
// small send buffer would slow many streams on one connection down.
func (o *serveOptions) connectionTuning(secure bool) conn.Tuning {
	if !secure {
		return conn.Tuning{}
	}
	t := o.tuning()
	t.SendBuffer = 0
	return t
}

// tlsConfig is nil where the server speaks plain HTTP.
func (o *serveOptions) tlsConfig(logger *slog.Logger) (*tls.Config, error) {
	if o.tlsCert == "" {
		return nil, nil
	}
	c, err := server.LoadCertificate(o.tlsCert, o.tlsKey, logger)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return c.Config(), nil
}

// drain ends the service: no new connections, a bye for those that are there,
// an end for requests under way, all within --drain-timeout.
func (o *serveOptions) drain(n *node, srv *server.Server, logger *slog.Logger) {
	began := time.Now()
	logger.Info("shutting down", "connections", n.connections(), "timeout", o.drainTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), o.drainTimeout)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Shutdown(ctx) }()
	err := errors.Join(n.hub.Drain(ctx, o.reconnectSpread), n.handler.Drain(ctx), <-stopped)
	if err != nil { // a client that did not let go is no failure of ours
		logger.Warn("not everything had ended in time and was cut off", "timeout", o.drainTimeout)
	}
	logger.Info("stopped", "after", time.Since(began).Round(time.Millisecond))
}

func (o *serveOptions) logger(std stdio) *slog.Logger {
	var level slog.Level
	level.UnmarshalText([]byte(o.logLevel)) // one of four words
	options := &slog.HandlerOptions{Level: level}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(std.err, options))
	}
	return slog.New(slog.NewTextHandler(std.err, options))
}

func (o *serveOptions) listenOn(ctx context.Context, flag, address string, insecure bool) ([]net.Listener, error) {
	listeners, err := server.Listen(ctx, address, insecure)
	if errors.Is(err, server.ErrInsecure) {
		return nil, settings.Errorf(`%s: %q is refused: %s.
Culvert cannot check who its clients are yet: everybody who reaches it could read and write
every room. Listen on localhost and let a proxy in front check who comes, or pass --insecure.`, flag, address, server.ErrInsecure)
	}
	if err != nil {
		return nil, listenError(flag, err)
	}
	return listeners, nil
}

// listenError names the flag whose address it is.
func listenError(flag string, err error) error {
	var bad *server.AddressError
	if errors.As(err, &bad) {
		return settings.Errorf("%s: %s", flag, bad)
	}
	return fmt.Errorf("%s: %w", flag, err)
}

func listensOnLoopback(listeners []net.Listener) bool {
	for _, l := range listeners {
		if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
			return false
		}
	}
	return true
}

// serveProfiles serves net/http/pprof, on loopback whatever --insecure says: a
// profile shows what passes through memory.
func (o *serveOptions) serveProfiles(ctx context.Context, logger *slog.Logger) (*server.Server, error) {
	listeners, err := server.Listen(ctx, o.pprof, false)
	if errors.Is(err, server.ErrInsecure) {
		return nil, settings.Errorf("--pprof: %q is refused: %s, and profiles are for this one only. Listen on localhost", o.pprof, server.ErrInsecure)
	}
	if err != nil {
		return nil, listenError("--pprof", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	srv := server.New(listeners, server.Options{Handler: mux, Logger: logger})
	srv.Start()
	logger.Info("serving profiles", "url", fmt.Sprintf("http://%s/debug/pprof/", srv.Addr()))
	return srv, nil
}

// announce says that the server is ready, to people as a line to try.
func (o *serveOptions) announce(std stdio, logger *slog.Logger, addr *net.TCPAddr, storeName string, secure bool) {
	scheme := "http://"
	if secure {
		scheme = "https://"
	}
	url := scheme + addr.String()
	if addr.IP.IsLoopback() {
		url = fmt.Sprintf("%slocalhost:%d", scheme, addr.Port)
	}
	if o.logFormat == "json" {
		logger.Info("listening", "url", url, "address", addr.String(), "store", storeName)
		return
	}
	fmt.Fprintf(std.err, "culvert %s listens on %s (store: %s)\n", release, url, storeName)
	fmt.Fprintf(std.err, "read a room:  curl -N -H 'Accept: text/event-stream' %s/rooms/lobby\n", url)
	fmt.Fprintf(std.err, "or in a page: %s\n", url)
}
