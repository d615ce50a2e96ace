package middlebox

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// Upgrade says what happens to a request that asks for a protocol upgrade.
type Upgrade int

const (
	// UpgradePass sends it on.
	UpgradePass Upgrade = iota
	// UpgradeStrip removes Upgrade and Connection and sends the rest on as an
	// ordinary request.
	UpgradeStrip
	// UpgradeRefuse answers with Options.UpgradeStatus.
	UpgradeRefuse
	// UpgradeReset resets the connection.
	UpgradeReset
	// UpgradeSwallow never answers and keeps the connection open.
	UpgradeSwallow
)

// Frames says what happens to WebSocket frames once the upgrade has passed.
type Frames int

const (
	// FramesPass lets them through.
	FramesPass Frames = iota
	// FramesDrop throws them away, in both directions.
	FramesDrop
	// FramesHold keeps them until other options let them pass or the
	// connection ends.
	FramesHold
	// FramesCorrupt sets the high bit of the first payload byte of data frames,
	// so that text is no longer UTF-8.
	FramesCorrupt
)

// Repeat says which requests reach the server twice. The answer to the repeat
// is thrown away.
type Repeat int

const (
	// RepeatNone repeats nothing.
	RepeatNone Repeat = iota
	// RepeatAll repeats every request, upgrades included.
	RepeatAll
	// RepeatPOST repeats every POST.
	RepeatPOST
)

// Hold says when the bytes of a response go on to the client.
type Hold int

const (
	// HoldNothing passes them on as they come.
	HoldNothing Hold = iota
	// HoldResponse sends nothing before the response has ended.
	HoldResponse
	// HoldBody sends the header at once and the body when it has ended.
	HoldBody
)

// Answer is a response of the box's own, instead of the server's.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	// First: only the first so many requests get it. 0: all of them.
	First int
	// Share of the requests that get it, above 0 and at most 1. 0: all of them.
	Share float64
}

// CaptivePortal answers everything with 200 and a page of HTML.
func CaptivePortal() *Answer {
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body: "<!doctype html><html><head><title>Welcome</title></head><body>Please accept the terms of this network.</body></html>"}
}

// ProxyAuthRequired answers everything with 407.
func ProxyAuthRequired() *Answer {
	return &Answer{Status: http.StatusProxyAuthRequired, Header: http.Header{"Proxy-Authenticate": {`Basic realm="gateway"`}}, Body: "proxy authentication required\n"}
}

// Busy answers the first requests (0: all) with status and Retry-After, rounded
// up to whole seconds.
func Busy(status int, after time.Duration, first int) *Answer {
	seconds := int((after + time.Second - 1) / time.Second)
	return &Answer{Status: status, Header: http.Header{"Retry-After": {strconv.Itoa(seconds)}}, Body: "busy\n", First: first}
}

// Options are the misbehaviours; the zero value has none. They combine.
type Options struct {
	// Seed of everything that is left to chance. Set starts the sequence again.
	Seed uint64
	// Only limits all that follows, apart from what concerns whole connections,
	// to the requests for which it is true. nil: all requests.
	Only func(*http.Request) bool

	// WebSocket.

	Upgrade Upgrade
	// UpgradeStatus is the status of UpgradeRefuse. 0: 403.
	UpgradeStatus int
	Frames        Frames
	// FramesAfter is the age of the WebSocket at which Frames sets in.
	FramesAfter time.Duration
	// WebSocketAge ends a WebSocket of this age, whatever its traffic. 0: never.
	WebSocketAge time.Duration
	// MaxFrame resets the connection at a frame with more payload bytes. 0: never.
	MaxFrame int

	// Whole connections; looked up when the client connects.

	// ForgetAfter is the age at which a connection is forgotten: it stays open
	// at both ends, and nothing passes any more, not even its end. 0: never.
	ForgetAfter time.Duration
	// IdleTimeout ends a connection without a byte in either direction for so
	// long. 0: never.
	IdleTimeout time.Duration
	// IdleForget makes IdleTimeout forget the connection instead of ending it.
	IdleForget bool
	// KillAtBytes resets the connection after so many bytes to the client. 0: never.
	KillAtBytes int64
	// Delay of every byte, in each direction.
	Delay time.Duration
	// Jitter is the most that is added to Delay by chance; bytes keep their order.
	Jitter time.Duration
	// BytesPerSecond bounds each direction. 0: no bound.
	BytesPerSecond int

	// Responses.

	Hold Hold
	// HoldFirst keeps the header and the first so many bytes of the body back
	// until there are more, or the response ends.
	HoldFirst int
	// Lumps passes the body on in lumps of so many bytes.
	Lumps int
	// Batch passes what came on only so often.
	Batch time.Duration
	// GzipHold compresses the body without ever flushing, where the client
	// accepts gzip.
	GzipHold bool
	// Held limits the five above to some responses. nil: all.
	Held func(*http.Request, http.Header) bool
	// CapResponse cuts a response so long after its request; with 504 if nothing
	// was sent yet. 0: never.
	CapResponse time.Duration
	// HTTP10 speaks HTTP/1.0 to both sides: no chunks, a connection a request.
	HTTP10 bool
	// Loss is the share of requests, 0 to 1, that the server carries out and whose
	// answer is lost.
	Loss float64
	// LossMethods limits Loss. nil: POST.
	LossMethods []string
	// LossStatus is answered instead. 0: the connection is closed without an answer.
	LossStatus int
	// DropReused carries out a request that comes on a connection that was used
	// before, and closes the connection instead of answering: what a server's
	// keep-alive time-out does to a request that crosses it.
	DropReused bool

	// Requests.

	// Strip names request headers that are removed.
	Strip []string
	// StripResponse names response headers that are removed.
	StripResponse []string
	// Methods are those that pass; others are answered with 403. nil: all.
	Methods []string
	// MaxURL is the most bytes of a request's target; more is 414. 0: no bound.
	MaxURL int
	// MaxBody is the most bytes of a request's body; more is 413. 0: no bound.
	MaxBody int
	// Cache keeps complete 200 answers to GET for so long, by URL alone, whatever
	// the headers say. 0: no cache.
	Cache time.Duration
	// Merge makes a GET wait for another one with the same URL that is under way,
	// and share its answer.
	Merge  bool
	Repeat Repeat
	// Answer is given instead of asking the server. nil: none.
	Answer *Answer
}

// Validate tells what is wrong with the options.
func (o Options) Validate() error {
	for _, d := range []time.Duration{o.FramesAfter, o.WebSocketAge, o.ForgetAfter, o.IdleTimeout, o.Delay, o.Jitter, o.Batch, o.CapResponse, o.Cache} {
		if d < 0 {
			return fmt.Errorf("middlebox: a duration is negative: %v", d)
		}
	}
	for _, n := range []int{o.MaxFrame, int(min(o.KillAtBytes, 1)), o.BytesPerSecond, o.HoldFirst, o.Lumps, o.MaxURL, o.MaxBody} {
		if n < 0 {
			return errors.New("middlebox: a number of bytes is negative")
		}
	}
	if o.Loss < 0 || o.Loss > 1 {
		return fmt.Errorf("middlebox: loss is a share from 0 to 1, not %v", o.Loss)
	}
	for _, status := range []int{o.UpgradeStatus, o.LossStatus} {
		if status != 0 && (status < 200 || status > 599) {
			return fmt.Errorf("middlebox: not the status of an answer: %d", status)
		}
	}
	if a := o.Answer; a != nil && (a.Status < 200 || a.Status > 599 || a.First < 0 || a.Share < 0 || a.Share > 1) {
		return errors.New("middlebox: an answer needs a status from 200 to 599, and a share from 0 to 1")
	}
	return nil
}

// EventStreams is true for responses of the type text/event-stream: for Held.
func EventStreams(_ *http.Request, response http.Header) bool {
	kind, _, _ := mime.ParseMediaType(response.Get("Content-Type"))
	return kind == "text/event-stream"
}

// GETEventStreams is true for event streams that were asked for by GET.
func GETEventStreams(r *http.Request, response http.Header) bool {
	return r.Method == http.MethodGet && EventStreams(r, response)
}

// Streams is true for responses whose end is not known at their beginning.
func Streams(_ *http.Request, response http.Header) bool {
	return response.Get("Content-Length") == ""
}
