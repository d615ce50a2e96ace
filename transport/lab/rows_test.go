//go:build linux

package lab

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/transport/middlebox"
)

// row is one thing that may stand between.
type row struct {
	// number is that of the catalogue, 0 for a path that does no harm.
	number int
	// name says which software, and what it does.
	name string
	// start puts it in front of the server at upstream, as host:port.
	start func(t testing.TB, upstream string) *path
	// namespace: it needs a network namespace of its own.
	namespace bool
	// misbehaves shows, with a careless origin, that it does what it is here for.
	misbehaves func(t *testing.T, p *path, o *origin)
	// does is what becomes of Culvert's ways of reading, where that is not "good".
	// Polls must always be good.
	does map[form]outcome
	// refusesSome: a POST may be answered with 502 or 503 for the sake of the
	// connection that it came on, while the next one passes.
	refusesSome bool
	// reach are the transports to one of which the client should come, where it
	// is not the best of those that does leaves; nil: that one.
	reach []string
	// home: the page is of the server's own origin, to which it has a connection
	// before it connects. Otherwise it is of another one.
	home bool
	// chromium are the transports for Chromium, where they are others.
	chromium []string
	// onlyHTTP2: there is nothing but requests over HTTP/2. Firefox has one
	// connection for all of them, with credentials and without, so that nothing
	// that a page does makes it open another one; it leaves a dead one after a
	// minute. Such a row is not for Firefox.
	onlyHTTP2 bool
	// every is the time between two messages of a client's run, rest a silence
	// amid them: for what happens with time. 0: 50 ms, none.
	every, rest time.Duration
}

// Ways of reading that do not work, put together.
func without(all ...map[form]outcome) map[form]outcome {
	m := map[form]outcome{}
	for _, one := range all {
		for f, o := range one {
			m[f] = o
		}
	}
	return m
}

func all(o outcome, forms ...form) map[form]outcome {
	m := map[form]outcome{}
	for _, f := range forms {
		m[f] = o
	}
	return m
}

var noWS = all(refuses, ws)

// websocketWay makes nginx pass WebSockets on.
const websocketWay = `
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;`

const websocketMap = `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`

func nginxWith(way, global, more string) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		return nginx(t, upstream, setting{Way: way, Global: global, More: more})
	}
}

func boxWith(o middlebox.Options) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path { return box(t, upstream, o) }
}

// behind puts a path behind another one.
func behind(outer func(testing.TB, string) *path, inner func(testing.TB, string) *path) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		in := inner(t, upstream)
		out := outer(t, in.url[len("http://"):])
		out.boxes = append(out.boxes, in.boxes...)
		return out
	}
}

func refuseUpgrades(status string) func(testing.TB, string) *path {
	return nginxWith(`if ($http_upgrade) { return `+status+`; }`+websocketWay, websocketMap, "")
}

// noPostedReads keeps what happens to POST away from reads by POST, which would
// make the outcome of a probe a matter of luck.
func noPostedReads(r *http.Request) bool {
	return r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/sse")
}

func plain[S any](f func(testing.TB, string, S) *path) func(testing.TB, string) *path {
	return func(t testing.TB, upstream string) *path {
		var zero S
		return f(t, upstream, zero)
	}
}

// rows are all of them, in the order of the catalogue.
var rows = slices.Concat(harmlessRows, connectionRows, responseRows, requestRows, networkRows)

// harmlessRows do no harm.
var harmlessRows = []row{
	{
		name: "nothing between", start: func(_ testing.TB, upstream string) *path { return &path{url: "http://" + upstream} },
		misbehaves: harmless,
	}, {
		name: "own proxy, honest", start: boxWith(middlebox.Options{}), misbehaves: harmless,
	}, {
		name: "nginx, set up for WebSocket", start: nginxWith(websocketWay, websocketMap, ""),
	}, {
		name: "caddy", start: plain(caddy), misbehaves: harmless,
	},
}
