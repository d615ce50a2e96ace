package main

import (
	"log/slog"
	"net/http"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport"
	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/pages"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/stream"
	"github.com/culvertd/culvert/transport/wire"
	"github.com/culvertd/culvert/transport/ws"
	"github.com/culvertd/culvert/web"
	webpages "github.com/culvertd/culvert/web/pages"
)

// node is what serves rooms: the hub, and the transports on it.
type node struct {
	hub     *hub.Hub
	handler *transport.Server
	sockets *ws.Handler
	streams *stream.Handler
	poller  *poller.Poller
}

// assemble puts the hub and the transports on the store. loopback says that
// only this machine reaches them.
func (o *serveOptions) assemble(store hub.Store, loopback bool, logger *slog.Logger) (*node, error) {
	h, err := hub.New(store, hub.Options{
		Framings:              wire.Framings(wire.Options{PageHeartbeat: o.bareHeartbeat, DeflateFrom: int(o.compressFrom)}),
		NodeID:                o.nodeID,
		Logger:                logger,
		TotalBytes:            o.memory / 2,
		Heartbeat:             o.heartbeat,
		WriteTimeout:          o.writeTimeout,
		MaxRoomsPerSubscriber: o.maxRoomsPerConn,
		MaxSubscribers:        o.maxConnections,
		KeyTTL:                o.dedupeTTL,
	})
	if err != nil {
		return nil, err
	}
	files, err := browserFiles()
	if err != nil {
		h.Close()
		return nil, err
	}
	publishing := publish.Limits{Message: int(o.maxMessageBytes), Batch: o.maxBatch, Body: int(o.maxBatchBytes)}
	tuning := o.tuning()
	pl := poller.New()
	n := &node{
		hub:    h,
		poller: pl,
		sockets: ws.New(ws.Options{
			Hub: h, Server: serverName, Logger: logger, Heartbeat: o.heartbeat, Publish: publishing,
			Rooms: o.maxRoomsPerConn, MaxFrame: int(o.maxBatchBytes), PageHeartbeat: o.bareHeartbeat,
			Poller: pl, Tuning: tuning, Deflate: o.compressFrom > 0,
		}),
		streams: stream.New(stream.Options{
			Hub: h, Server: serverName, Logger: logger, Heartbeat: o.heartbeat, Poller: pl, Tuning: tuning,
		}),
	}
	n.handler, err = transport.New(h, transport.Transports{WebSocket: n.sockets, SSE: n.streams.SSE, NDJSON: n.streams.NDJSON}, transport.Options{
		Logger:          logger,
		AllowOrigins:    o.origins,
		LoopbackOrigins: loopback,
		Reading:         o.readingLimits(),
		Publishing:      publishing,
		BarePaths:       o.barePaths,
		Pages:           files,
		Poller:          pl,
		Tuning:          tuning,
	})
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// tuning bounds what stalled or vanished clients hold in the kernel. A reader
// that takes nothing is the hub's to end, which knows to say why.
func (o *serveOptions) tuning() conn.Tuning {
	return conn.Tuning{SendBuffer: int(o.sendBuffer), UserTimeout: 2 * o.writeTimeout, NotSentLowat: int(o.sendBuffer)}
}

// readingLimits has room for a cursor of as many rooms as one connection may
// have: a name of 200 bytes and a position of up to 110 each.
func (o *serveOptions) readingLimits() read.Limits {
	const perRoom = 320
	return read.Limits{
		Rooms:  o.maxRoomsPerConn,
		Cursor: max(32<<10, perRoom*o.maxRoomsPerConn),
		Body:   max(64<<10, 2*perRoom*o.maxRoomsPerConn),
		Wait:   o.pollWait,
	}
}

// browserFiles serves the pages, and the browser client at /culvert.js and
// beside it.
func browserFiles() (func(w http.ResponseWriter, r *http.Request) bool, error) {
	all, err := pages.New(pages.Set{Files: web.Files(), Shared: true}, pages.Set{Files: webpages.Files()})
	if err != nil {
		return nil, err
	}
	return all.Serve, nil
}

// serverName is what hello says.
const serverName = "culvert " + release

// close ends every connection and waits until nothing runs any more.
func (n *node) close() {
	n.hub.Close()
	if n.handler != nil {
		n.handler.Close()
	}
	n.sockets.Wait()
	n.streams.Wait()
	n.poller.Close()
}
