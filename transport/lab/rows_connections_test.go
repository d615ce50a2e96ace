//go:build linux

package lab

import (
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// connectionRows are what happens to WebSockets, and to connections: 1 to 8.
var connectionRows = []row{
	{
		number: 1, name: "nginx, bare proxy_pass", start: nginxWith("", "", ""),
		misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "squid in front", start: plain(squid), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "varnish", start: plain(varnish), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "apache", start: plain(apache), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "tinyproxy in front", start: plain(tinyproxy), misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "haproxy, del-header upgrade",
		start: func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{More: "http-request del-header upgrade"})
		},
		misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 1, name: "own proxy, strips Upgrade", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeStrip}),
		misbehaves: stripsUpgrade, does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 403", start: refuseUpgrades("403"), misbehaves: refusesUpgradeWith(403), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 400", start: refuseUpgrades("400"), misbehaves: refusesUpgradeWith(400), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 426", start: refuseUpgrades("426"), misbehaves: refusesUpgradeWith(426), does: noWS,
	}, {
		number: 2, name: "nginx, upgrade refused with 502", start: refuseUpgrades("502"), misbehaves: refusesUpgradeWith(502), does: noWS,
	}, {
		number: 2, name: "iptables, upgrade answered with a reset", namespace: true,
		start:      upgradesMeet("REJECT", "--reject-with", "tcp-reset"),
		misbehaves: websocketIs(broken), does: all(broken, ws),
	}, {
		number: 2, name: "own proxy, upgrade answered with a reset", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeReset}),
		misbehaves: websocketIs(broken), does: all(broken, ws),
	}, {
		number: 3, name: "iptables, upgrade dropped", namespace: true,
		start: upgradesMeet("DROP"), misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 3, name: "own proxy, upgrade swallowed", start: boxWith(middlebox.Options{Upgrade: middlebox.UpgradeSwallow}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "privoxy as Debian ships it", start: plain(privoxy),
		misbehaves: websocketIs(silent), does: without(all(silent, ws), all(held, sse, post)),
	}, {
		number: 4, name: "own proxy, 101 then frames dropped", start: boxWith(middlebox.Options{Frames: middlebox.FramesDrop}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "own proxy, 101 then frames held", start: boxWith(middlebox.Options{Frames: middlebox.FramesHold}),
		misbehaves: websocketIs(silent), does: all(silent, ws),
	}, {
		number: 4, name: "own proxy, 101 then frames spoilt", start: boxWith(middlebox.Options{Frames: middlebox.FramesCorrupt}),
		does: all(broken, ws),
	}, {
		number: 4, name: "own proxy, frames dropped after 3 s", start: boxWith(middlebox.Options{Frames: middlebox.FramesDrop, FramesAfter: 3 * time.Second}),
		misbehaves: forgotten(3 * time.Second),
		// The WebSocket is good for three seconds, again and again, until it is demoted.
		reach: []string{"websocket", "sse"}, every: 200 * time.Millisecond,
	}, {
		number: 4, name: "own proxy, reset at 8 KB frames", start: boxWith(middlebox.Options{MaxFrame: 8 << 10}),
		does: all(broken, ws),
	}, {
		number: 6, name: "own proxy, WebSocket ends at 5 s", start: boxWith(middlebox.Options{WebSocketAge: 5 * time.Second}),
		misbehaves: endsAfter(5 * time.Second), every: 300 * time.Millisecond,
	}, {
		number: 6, name: "ss -K, every connection ends at 5 s", namespace: true, start: killsAt(5 * time.Second),
		misbehaves: endsAfter(5 * time.Second), every: 300 * time.Millisecond,
	}, {
		number: 7, name: "nginx, proxy_read_timeout 2s", start: nginxWith(websocketWay+"proxy_read_timeout 2s;", websocketMap, ""),
		misbehaves: endsAfter(2 * time.Second), rest: 5 * time.Second,
	}, {
		number: 7, name: "haproxy, timeout tunnel 2s",
		start: func(t testing.TB, upstream string) *path {
			return haproxy(t, upstream, setting{Global: "timeout tunnel 2s"})
		},
		misbehaves: endsAfter(2 * time.Second), rest: 5 * time.Second,
	}, {
		number: 7, name: "own proxy, connections end after 3 s idle", start: boxWith(middlebox.Options{IdleTimeout: 3 * time.Second}),
		misbehaves: endsAfter(3 * time.Second), rest: 6 * time.Second,
	}, {
		number: 8, name: "conntrack forgets after 5 s", namespace: true, start: forgets(5),
		misbehaves: forgotten(5 * time.Second), rest: 8 * time.Second,
	}, {
		number: 8, name: "own proxy, forgets after 5 s idle", start: boxWith(middlebox.Options{IdleTimeout: 5 * time.Second, IdleForget: true}),
		misbehaves: forgotten(5 * time.Second), rest: 8 * time.Second,
	}, {
		number: 8, name: "own proxy, forgets every connection at 6 s", start: boxWith(middlebox.Options{ForgetAfter: 6 * time.Second}),
		misbehaves: forgotten(6 * time.Second), every: 200 * time.Millisecond,
		// The WebSocket is good for six seconds, again and again, until it is demoted.
		reach: []string{"websocket", "sse"},
	},
}
