package bench

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/culvertd/culvert/cmd/internal/settings"
)

// Summary, Arguments, About and Examples are parts of the command's help.
const (
	Summary   = "measure a server, and check every message meanwhile"
	Arguments = "[flags]"
	About     = `
Without --url a server of its own is started (culvert serve, on a free port) and measured.
Subscribers connect, their idle memory is taken, messages are published for --duration, and
every subscriber's messages are checked by their offsets: none lost, none twice, in order.
The exit status is 1 where one was, or where a subscriber or a publish failed.

Messages go out at --rate, or, with --outstanding alone, as fast as they are delivered (or,
with --until answered, as fast as publishes are answered). CPU and memory are the operating
system's figures for the server's process: known for a server of its own, and for one on
this machine whose --pid is given.`
	Examples = `
  culvert bench --subscribers 5000 --transport sse
  culvert bench --subscribers 5000 --outstanding 8 --server-core 0 --client-core 1
  culvert bench --subscribers 15000 --transport mixed --duration 0 --settle 10s   # memory
  culvert bench --rooms 100 --subscribers 100 --outstanding 32 --until answered --keys
  culvert bench --subscribers 10000 --rooms 100 --storm 100 --side-rooms 10
  culvert bench --subscribers 5000 --size 1024 --compress --serve-flags '--compress-from 512'
  culvert bench --url https://culvert.example.org --subscribers 200 --html report.html`
)

// The values of the settings that are words.
const (
	transportWS     = "ws"
	transportSSE    = "sse"
	transportNDJSON = "ndjson"
	transportPoll   = "poll"
	transportMixed  = "mixed"

	untilDelivered = "delivered"
	untilAnswered  = "answered"

	publishHTTP = "http"
	publishWS   = "ws"

	peerCulvert = "culvert"
	peerNchan   = "nchan"
)

// options are the settings of a run.
type options struct {
	url, command, serveFlags string
	pid                      int
	serverCore, clientCore   int
	peer, profile, heap      string
	headers                  []string
	portable                 bool
	insecureTLS, compress    bool
	subscribers, rooms       int
	transport                string
	connecting               int
	stalled                  float64
	churn                    float64
	rate                     float64
	outstanding              int
	until                    string
	size, batch              int
	publishers               int
	publish                  string
	keys, spread             bool
	sideRooms, sideSubs      int
	sideRate                 float64
	settle, warmUp, duration time.Duration
	messages, storm          int
	patience                 time.Duration
	json, html               string
	quiet                    bool
	target                   *url.URL // of --url, or of the server that was started

	given givenSettings
}

// givenSettings are those of which it matters whether they were given.
type givenSettings struct {
	rate, until, duration, messages *settings.Setting
	sideSubs, sideRate              *settings.Setting
}

func (o *options) declare(s *settings.Set) {
	s.Group("Which server")
	s.String(&o.url, "url", "URL", "", "the server to measure, such as http://localhost:8080; without it one is started", checkURL)
	s.Int(&o.pid, "pid", 0, 1, 1<<30, "process whose CPU and memory are the server's, where it runs on this machine already").NoDefault()
	s.String(&o.command, "command", "COMMAND", "", "start this program as the server, reachable at --url (words apart by spaces)", nil)
	s.String(&o.serveFlags, "serve-flags", "FLAGS", "", "more flags for the server that is started, apart by spaces", nil)
	s.Int(&o.serverCore, "server-core", -1, 0, 4095, "run the started server on this core only").NoDefault()
	s.Int(&o.clientCore, "client-core", -1, 0, 4095, "run the bench on this core only, where it stays awake while messages come").NoDefault()
	s.Strings(&o.headers, "header", "HEADER", "header of every request, such as 'Authorization: Bearer ...'", checkHeader)
	s.Choice(&o.peer, "peer", peerCulvert, []string{peerCulvert, peerNchan},
		"what kind of server it is; of Nchan, /sub/{ws,sse,poll}/ROOM and /pub/ROOM are used")
	s.Bool(&o.insecureTLS, "insecure-tls", "do not verify the certificate of an https:// server, such as one that it signed itself")
	s.Bool(&o.portable, "portable", "use a goroutine for each connection, as on systems without epoll")

	s.Group("Subscribers")
	s.Int(&o.subscribers, "subscribers", 1000, 0, 500_000, "connections that read")
	s.Choice(&o.transport, "transport", transportWS,
		[]string{transportWS, transportSSE, transportNDJSON, transportPoll, transportMixed}, "how they read")
	s.Bool(&o.compress, "compress", "WebSockets offer permessage-deflate, and must be given it")
	s.Int(&o.rooms, "rooms", 1, 1, 100_000, "rooms, with the subscribers spread over them")
	s.Int(&o.connecting, "connecting", 128, 1, 10_000, "subscribers that may be connecting at a time")
	percent(s, &o.stalled, "stalled", "part of the subscribers that stop reading before the measurement, such as 1%")
	number(s, &o.churn, "churn", 0, 100_000, "subscribers a second that leave and come back from their cursor, of a tenth of them")

	s.Group("Messages")
	o.given.rate = number(s, &o.rate, "rate", 0, 1_000_000, "messages published a second, over all rooms (default 4, unless --outstanding is given)")
	s.Int(&o.outstanding, "outstanding", 0, 1, 100_000, "so many messages at a time are on their way: at most with --rate, at all times without").NoDefault()
	o.given.until = s.Choice(&o.until, "until", untilDelivered, []string{untilDelivered, untilAnswered},
		"with --outstanding: when a message's place is given to the next")
	s.Int(&o.size, "size", 128, minSize, 60_000, "bytes of a message's data")
	s.Int(&o.batch, "batch", 1, 1, 1000, "messages in one publish request")
	s.Bool(&o.spread, "spread", "each message of a batch goes to another room; without, a batch to one")
	s.Bool(&o.keys, "keys", "publish with idempotency keys")
	s.Choice(&o.publish, "publish", publishHTTP, []string{publishHTTP, publishWS}, "how messages are published")
	s.Int(&o.publishers, "publishers", 0, 1, 4096, "connections that publish (default: --outstanding, but 8 to 64; 1 for WebSocket)").NoDefault()

	s.Group("Side rooms, whose latency is reported apart")
	s.Int(&o.sideRooms, "side-rooms", 0, 0, 10_000, "small rooms beside the others")
	o.given.sideSubs = s.Int(&o.sideSubs, "side-subscribers", 2, 1, 100, "subscribers of each, by WebSocket")
	o.given.sideRate = number(s, &o.sideRate, "side-rate", 20, 100_000, "messages published a second over all of them")

	s.Group("Course")
	s.Duration(&o.settle, "settle", time.Second, 0, time.Hour, "silence before idle memory is taken")
	s.Duration(&o.warmUp, "warm-up", time.Second, 0, time.Hour, "traffic before the measurement")
	o.given.duration = s.Duration(&o.duration, "duration", 5*time.Second, 0, 24*time.Hour, "how long is measured; 0 stops after idle memory")
	o.given.messages = s.Int(&o.messages, "messages", 0, 1, 100_000_000, "measure so many messages instead of a time").NoDefault()
	s.Int(&o.storm, "storm", 0, 1, 1000, "at the end, all subscribers leave, miss so many messages each, and come back at once").NoDefault()
	s.Duration(&o.patience, "patience", 30*time.Second, time.Second, time.Hour, "how long nothing may happen before the run fails")

	s.Group("Output")
	s.String(&o.json, "json", "FILE", "", "write the result as JSON; - is the standard output, in place of the table", nil)
	s.String(&o.html, "html", "FILE", "", "write the result as one self-contained page; - is the standard output, in place of the table", nil)
	s.String(&o.profile, "profile", "FILE", "", "write a CPU profile of the started server during the measurement", nil)
	s.String(&o.heap, "heap-profile", "FILE", "", "write a heap profile of the started server while all are connected", nil)
	s.Bool(&o.quiet, "quiet", "show no progress")
}

// percent declares a part of a whole, 0 to 50 %.
func percent(s *settings.Set, p *float64, name, usage string) {
	s.String(new(string), name, "PERCENT", "", usage, func(text string) error {
		v, err := parseNumber(strings.TrimSuffix(text, "%"))
		if err != nil || v < 0 || v > 50 {
			return errors.New("it must be a part from 0 to 50%")
		}
		*p = v / 100
		return nil
	})
}

// number declares a number that need not be whole.
func number(s *settings.Set, p *float64, name string, def, high float64, usage string) *settings.Setting {
	*p = def
	shown := fmt.Sprint(def)
	if def == 0 {
		shown = ""
	}
	x := s.String(new(string), name, "N", shown, usage, func(text string) error {
		v, err := parseNumber(text)
		if err != nil || v < 0 || v > high {
			return fmt.Errorf("it must be a number from 0 to %.0f", high)
		}
		*p = v
		return nil
	})
	if def == 0 {
		x.NoDefault()
	}
	return x
}

func parseNumber(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
		err = errors.New("not a number")
	}
	return v, err
}

func checkURL(text string) error {
	u, err := parseURL(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it must be http://host or https://host, with a port where it is not the usual one")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return errors.New("it must have no query, fragment and user")
	}
	return nil
}

// parseURL reads --url; a text without a scheme means http, as everywhere.
func parseURL(text string) (*url.URL, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	return url.Parse(strings.TrimSuffix(text, "/"))
}

func checkHeader(text string) error {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(name+value, "\r\n") {
		return errors.New("it must be 'Name: value'")
	}
	return nil
}

// usualRate is that of a run that says nothing.
const usualRate = 4

// setting is the run in one line.
func (o *options) setting() string {
	var b strings.Builder
	how := "by " + o.transport
	if o.transport == transportMixed {
		how = "by all transports"
	}
	if o.compress {
		how += ", WebSocket compressed"
	}
	fmt.Fprintf(&b, "%d subscribers %s", o.subscribers, how)
	if o.rooms > 1 {
		fmt.Fprintf(&b, " in %d rooms", o.rooms)
	}
	if o.stalled > 0 {
		fmt.Fprintf(&b, ", %v %% stalled", o.stalled*100)
	}
	if o.churn > 0 {
		fmt.Fprintf(&b, ", %v a second coming back", o.churn)
	}
	if o.duration == 0 && o.messages == 0 {
		b.WriteString("; no messages")
		if o.storm > 0 {
			fmt.Fprintf(&b, " but the %d that each misses in a storm", o.storm)
		}
		return b.String()
	}
	what := fmt.Sprintf("messages of %d bytes", o.size)
	if o.batch > 1 {
		what = fmt.Sprintf("batches of %d %s", o.batch, what)
	}
	if o.spread {
		what += " to as many rooms"
	}
	if o.keys {
		what += " with keys"
	}
	if o.rate > 0 {
		fmt.Fprintf(&b, "; %v %s a second", o.rate, what)
		what = "at most"
	}
	if o.outstanding > 0 {
		fmt.Fprintf(&b, "; %d %s outstanding until %s", o.outstanding, what, o.until)
	}
	if o.sideRooms > 0 {
		fmt.Fprintf(&b, "; %d side rooms of %d", o.sideRooms, o.sideSubs)
	}
	if o.storm > 0 {
		fmt.Fprintf(&b, "; a storm with %d missed by each", o.storm)
	}
	return b.String()
}
