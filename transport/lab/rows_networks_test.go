//go:build linux

package lab

import (
	"net/http"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// networkRows are not in the catalogue: networks, and much at once.
var networkRows = []row{
	{
		name: "own proxy, one that the browser is told to use", start: boxForward,
	}, {
		name: "own proxy, much at once",
		start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip, HTTP10: true, Hold: middlebox.HoldResponse, Repeat: middlebox.RepeatAll,
			Strip: []string{"Authorization", "Cookie", "Accept", "Idempotency-Key", "Last-Event-ID", "Content-Type"}, Methods: []string{"GET", "POST"},
			MaxURL: 1 << 10, MaxBody: 4 << 10, Loss: 0.3, LossStatus: 502, Cache: 30 * time.Second,
			Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, CapResponse: 10 * time.Second, Seed: 4}),
		does: without(noWS, all(held, streams...)),
	}, {
		name: "own proxy, 150 ms each way and jitter", start: boxWith(middlebox.Options{Delay: 150 * time.Millisecond, Jitter: 50 * time.Millisecond, Seed: 1}),
	}, {
		name: "own proxy, 32 KB a second", start: boxWith(middlebox.Options{BytesPerSecond: 32 << 10}),
	}, {
		name: "own proxy, a tenth of the requests answered 503", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeRefuse, Seed: 3,
			Answer: &middlebox.Answer{Status: 503, Header: http.Header{"Retry-After": {"0"}}, Share: 0.1}}),
		does: noWS,
	}, {
		name: "own proxy, connections die at 20 KB", start: boxWith(middlebox.Options{KillAtBytes: 20 << 10}),
		does: all(broken, ws),
		// Streams and polls both live for 20 KB: none is better.
		reach: []string{"sse", "poll"},
	},
}
