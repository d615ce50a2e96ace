package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/culvertd/culvert/transport/conn"
	"github.com/culvertd/culvert/transport/poller"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/read"
)

// Options configure a Server. The zero value is usable.
type Options struct {
	// Logger hears of faults as warnings, at most one a second for each code, of
	// refused origins, at most one in ten seconds, and of every request at debug
	// level. Default: discard.
	Logger *slog.Logger

	// AllowOrigins are the origins of pages that may use the server beside its
	// own: "https://app.example.com", or "*" for all.
	AllowOrigins []string
	// LoopbackOrigins allows pages from loopback addresses. It is for servers
	// that listen on loopback themselves.
	LoopbackOrigins bool

	// Reading and Publishing bound what requests may hold.
	Reading    read.Limits
	Publishing publish.Limits
	// PollBytes bounds the messages of one poll's answer: 256 KiB.
	PollBytes int

	// PublishTimeout is how long a publish may take in the store: 5 s. Its
	// client hears then that it may have happened.
	PublishTimeout time.Duration
	// ReadTimeout is the same for history, presence and figures: 5 s.
	ReadTimeout time.Duration
	// ReadyTimeout is how long /readyz waits for the store: 1 s.
	ReadyTimeout time.Duration

	// BarePaths are paths at which pages that know nothing of Culvert find a
	// bare WebSocket, such as "/ws/chat/{room}/".
	BarePaths []string

	// Pages answers GET and HEAD of what is no address of the protocol, such as
	// the page at "/". It returns false, and has done nothing then, where it has
	// nothing there for this client. Any origin may load them. Default: nothing.
	Pages func(w http.ResponseWriter, r *http.Request) bool

	// Poller waits for the clients of polls, so that a poll that waits costs no
	// goroutine. Nil: each has one, and publishes are all read by the HTTP server;
	// see ConnContext.
	Poller *poller.Poller
	// Tuning bounds what such a connection holds in the kernel.
	Tuning conn.Tuning
}

// Validate reports the first field that cannot be used.
func (o Options) Validate() error {
	for _, origin := range o.AllowOrigins {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	seen := make(map[string]string)
	for _, path := range o.BarePaths {
		if err := checkBarePath(path); err != nil {
			return err
		}
		shape := strings.TrimSuffix(path, "/")
		if other, dup := seen[shape]; dup {
			return fmt.Errorf("transport: bare paths %s and %s are the same", other, path)
		}
		seen[shape] = path
	}
	for name, n := range map[string]int64{
		"PollBytes": int64(o.PollBytes), "PublishTimeout": int64(o.PublishTimeout),
		"ReadTimeout": int64(o.ReadTimeout), "ReadyTimeout": int64(o.ReadyTimeout),
		"Reading.Rooms": int64(o.Reading.Rooms), "Reading.Cursor": int64(o.Reading.Cursor), "Reading.Body": int64(o.Reading.Body), "Reading.Wait": int64(o.Reading.Wait),
		"Publishing.Message": int64(o.Publishing.Message), "Publishing.Batch": int64(o.Publishing.Batch), "Publishing.Body": int64(o.Publishing.Body),
	} {
		if n < 0 {
			return fmt.Errorf("transport: %s is negative", name)
		}
	}
	if o.Reading.Wait > read.MaxWait || o.Reading.Wait%time.Second != 0 {
		return fmt.Errorf("transport: Reading.Wait is %s, it must be whole seconds up to %s", o.Reading.Wait, read.MaxWait)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 5 * time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 5 * time.Second
	}
	if o.ReadyTimeout == 0 {
		o.ReadyTimeout = time.Second
	}
	o.Publishing = o.Publishing.WithDefaults()
	return o
}

// checkOrigin checks one of AllowOrigins: an origin exactly as browsers send
// it, so that a typing error is found at the start and not in production.
func checkOrigin(origin string) error {
	if origin == "*" || origin == "null" {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || origin != u.Scheme+"://"+u.Host || origin != strings.ToLower(origin) || strings.Contains(origin, "*") {
		return fmt.Errorf("transport: allowed origin %q is not of the form https://host or https://host:port, in lower case, without a path and without *", origin)
	}
	return nil
}

// ownSegments are the first segments of Culvert's own paths.
var ownSegments = [...]string{"rooms", "publish", "stats", "healthz", "readyz", "doctor", "pages"}

// checkBarePath checks one of BarePaths: absolute, {room} once as a whole
// segment, and no path of Culvert's own.
func checkBarePath(path string) error {
	bad := func(why string) error {
		return fmt.Errorf("transport: bare path %q: %s; a good one is /ws/chat/{room}/", path, why)
	}
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return bad("it does not start with /")
	}
	segments := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	rooms := 0
	for i, segment := range segments {
		switch {
		case segment == "{room}":
			rooms++
			if i == 0 {
				return bad("{room} is its first segment, and would hide every other path")
			}
			continue
		case segment == "" || segment == "." || segment == "..":
			return bad("a segment is empty or made of dots")
		}
		for j := 0; j < len(segment); j++ {
			if c := segment[j]; !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("._~-@", c) >= 0) {
				return bad("segments are {room}, or made of A-Z a-z 0-9 . _ ~ - @")
			}
		}
		for _, own := range ownSegments {
			if i == 0 && segment == own {
				return bad("/" + own + " is Culvert's own")
			}
		}
	}
	if rooms != 1 {
		return bad("{room} must be there once, as a whole segment")
	}
	return nil
}
