package main

import (
	"math"
	"time"

	"github.com/culvertd/culvert/cmd/internal/settings"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/transport/read"
)

// serveOptions are the settings of serve, grouped as in its help.
type serveOptions struct {
	listen         string
	insecure       bool
	origins        []string
	maxConnections int
	tlsCert        string
	tlsKey         string

	store           string
	redisPrefix     string
	historyMessages int
	historyBytes    int64
	historyAge      time.Duration
	roomTTL         time.Duration
	memory          int64
	maxRooms        int
	dedupeTTL       time.Duration
	maxKeys         int
	forRedis        *settings.Setting   // what the memory store has no use for
	forMemory       []*settings.Setting // what a Redis has none for

	maxMessageBytes int64
	maxBatch        int
	maxBatchBytes   int64
	maxRoomsPerConn int

	heartbeat     time.Duration
	writeTimeout  time.Duration
	sendBuffer    int64
	compressFrom  int64
	pollWait      time.Duration
	barePaths     []string
	bareHeartbeat string

	logFormat       string
	logLevel        string
	drainTimeout    time.Duration
	reconnectSpread time.Duration
	nodeID          string
	pprof           string
}

const day = 24 * time.Hour

func (o *serveOptions) declare(s *settings.Set) {
	s.Group("Where it listens, and for whom")
	s.String(&o.listen, "listen", "ADDRESS", "localhost:8080",
		"host:port to listen on; port 0 takes a free one; localhost is 127.0.0.1 and ::1", nil)
	s.Bool(&o.insecure, "insecure",
		"allow an address that other machines reach: everybody who reaches it may then read and write every room")
	s.Strings(&o.origins, "allow-origin", "ORIGIN",
		"let pages of this origin use the server, such as https://example.org, or * for all; its own origin always may", checkOrigin)
	s.Int(&o.maxConnections, "max-connections", 0, 1, 10_000_000,
		"connections at a time; more are answered 503 too_many_connections (default: what the system allows, 100000 at most)").NoDefault()

	s.String(&o.tlsCert, "tls-cert", "FILE", "",
		"speak HTTPS, with HTTP/2, and show this certificate chain (PEM); a file that is replaced is read again", nil)
	s.String(&o.tlsKey, "tls-key", "FILE", "", "the certificate's key (PEM)", nil)

	s.Group("What it keeps")
	s.String(&o.store, "store", "STORE", "memory", "where rooms are kept: memory; a Redis or Valkey (redis://[user:password@]host:6379[/db], rediss:// for TLS, "+
		"redis+sentinel://, redis+cluster://, unix://), which several nodes can share; or miniredis, a Redis inside the program, for development", checkStore).Secret()
	o.forRedis = s.String(&o.redisPrefix, "redis-prefix", "TEXT", redis.DefaultPrefix, "begins every key in Redis, so that services can share one", checkPrefix)
	s.Int(&o.historyMessages, "history-messages", 1000, 1, 1_000_000, "messages kept of one room")
	s.Size(&o.historyBytes, "history-bytes", 1<<20, 1<<10, 1<<40, "bytes kept of one room")
	s.Duration(&o.historyAge, "history-age", day, time.Second, 10*365*day, "how long a message is kept")
	s.Duration(&o.roomTTL, "room-ttl", 7*day, time.Minute, 10*365*day,
		"how long a silent room keeps its place; a cursor older than that meets a gap")
	s.Size(&o.memory, "memory", 512<<20, 8<<20, 1<<50,
		"bytes for messages in all: half for the history of all rooms (memory store), half for what is on its way to readers")
	maxRooms := s.Int(&o.maxRooms, "max-rooms", 1_000_000, 1, math.MaxInt32, "rooms known at a time (memory store)")
	s.Duration(&o.dedupeTTL, "dedupe-ttl", time.Hour, time.Second, 30*day, "how long an idempotency key is remembered")
	maxKeys := s.Int(&o.maxKeys, "max-keys", 1_000_000, 1, math.MaxInt32,
		"idempotency keys at a time, about 176 bytes each; past it a publish with a new key is refused (memory store)")
	o.forMemory = []*settings.Setting{maxRooms, maxKeys}

	s.Group("What clients may send")
	s.Size(&o.maxMessageBytes, "max-message-bytes", 64<<10, 1, 64<<20, "bytes of one message")
	s.Int(&o.maxBatch, "max-batch", 1000, 1, 100_000, "messages of one publish request")
	s.Size(&o.maxBatchBytes, "max-batch-bytes", 1<<20, 1<<10, 256<<20, "bytes of one publish request or WebSocket frame")
	s.Int(&o.maxRoomsPerConn, "max-rooms-per-connection", 100, 1, 1000, "rooms that one connection reads")

	s.Group("Delivery")
	s.Seconds(&o.heartbeat, "heartbeat", 15*time.Second, time.Second, time.Minute, "silence after which a connection hears a heartbeat")
	s.Duration(&o.writeTimeout, "write-timeout", 30*time.Second, time.Second, 10*time.Minute,
		"how long a reader may take nothing before its connection is closed; it may resume")
	s.Size(&o.sendBuffer, "send-buffer", 32<<10, 4<<10, 64<<20,
		"bytes that the system may hold for a connection whose reader has stalled")
	s.Size(&o.compressFrom, "compress-from", 0, 0, 64<<20,
		"compress WebSocket messages of this size or more, once for all clients that offer permessage-deflate, such as 512; 0 compresses none")
	s.Seconds(&o.pollWait, "poll-wait", read.DefaultWait, time.Second, read.MaxWait, "how long a poll waits that does not say")
	s.Strings(&o.barePaths, "bare-path", "PATH",
		"serve a bare WebSocket here as well, for pages that know nothing of Culvert, such as /ws/chat/{room}/", checkBarePath)
	s.String(&o.bareHeartbeat, "bare-heartbeat", "TEXT", "",
		"text that a bare path sends as its heartbeat and does not publish when it comes back, such as --heartbeat--", nil)

	s.Group("Running it")
	s.Choice(&o.logFormat, "log-format", "text", []string{"text", "json"}, "form of the log on standard error")
	s.Choice(&o.logLevel, "log-level", "info", []string{"debug", "info", "warn", "error"}, "least level that is logged")
	s.Duration(&o.drainTimeout, "drain-timeout", 10*time.Second, 0, 10*time.Minute, "how long a shutdown may take")
	s.Duration(&o.reconnectSpread, "reconnect-spread", 5*time.Second, 0, 10*time.Minute,
		"time within which a shutdown tells its clients to come back, each at a random moment")
	s.String(&o.nodeID, "node-id", "NAME", "", "name of this node among others; random where none is given", checkNodeID)
	s.String(&o.pprof, "pprof", "ADDRESS", "", "serve Go's profiles on this loopback address", nil)
}
