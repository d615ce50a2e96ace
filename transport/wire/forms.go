package wire

import "github.com/culvertd/culvert/hub"

// The wire forms: what SubscriberOptions.Form and PollRequest.Form say, and
// the index of the form in Framings.
const (
	// FormWS: WebSocket text frames, one envelope each.
	FormWS = iota
	// FormWSBare: WebSocket text frames, the data alone.
	FormWSBare
	// FormWSPage: FormWSBare with Options.PageHeartbeat.
	FormWSPage
	// FormSSE: server-sent events, one chunk of HTTP/1.1's chunked coding each.
	FormSSE
	// FormSSEPlain: server-sent events without chunks, for HTTP/1.0 and for
	// connections that net/http writes to.
	FormSSEPlain
	FormSSEBare
	FormSSEBarePlain
	// FormNDJSON: one envelope a line, one chunk each.
	FormNDJSON
	FormNDJSONPlain
	FormNDJSONBare
	FormNDJSONBarePlain
	// FormPoll: elements of a poll's messages, without commas.
	FormPoll
	FormPollBare
	// FormWSDeflate, and those after it: FormWS, FormWSBare and FormWSPage with
	// compressed frames.
	FormWSDeflate
	FormWSBareDeflate
	FormWSPageDeflate
)

// Options configure the wire forms.
type Options struct {
	// PageHeartbeat is a text that FormWSPage sends with every heartbeat, for
	// pages that wait for one (django-websocket-redis: "--heartbeat--").
	// Empty: a WebSocket ping alone.
	PageHeartbeat string
	// DeflateFrom is the least length of a message in a WebSocket frame that is
	// compressed for clients that agreed on it. 0: none is.
	DeflateFrom int
}

// Framings returns every wire form, in the order of the Form constants.
func Framings(o Options) []hub.Framing {
	page := wsBare{heartbeat: o.PageHeartbeat}
	return []hub.Framing{
		FormWS:              ws{},
		FormWSBare:          wsBare{},
		FormWSPage:          page,
		FormSSE:             sse{chunked: true},
		FormSSEPlain:        sse{},
		FormSSEBare:         sse{chunked: true, bare: true},
		FormSSEBarePlain:    sse{bare: true},
		FormNDJSON:          ndjson{chunked: true},
		FormNDJSONPlain:     ndjson{},
		FormNDJSONBare:      ndjson{chunked: true, bare: true},
		FormNDJSONBarePlain: ndjson{bare: true},
		FormPoll:            poll{},
		FormPollBare:        poll{bare: true},
		FormWSDeflate:       deflated{ws{}, o.DeflateFrom},
		FormWSBareDeflate:   deflated{wsBare{}, o.DeflateFrom},
		FormWSPageDeflate:   deflated{page, o.DeflateFrom},
	}
}

// appendEnvelope appends the envelope of any event.
func appendEnvelope(dst []byte, ev *hub.Event) []byte {
	switch ev.Kind {
	case hub.EventMessage:
		return AppendMessage(dst, ev.Message)
	case hub.EventPresence:
		return AppendPresence(dst, ev.Presence)
	case hub.EventGap:
		return AppendGap(dst, ev.Gap, ev.Time)
	}
	return dst
}

// shared is what forms have in common whose frames do not name the
// connection's cursor.
type shared struct{}

func (shared) CursorInFrame() bool { return false }

func (shared) AppendWithCursor(dst, wire, _ []byte) []byte { return append(dst, wire...) }

type poll struct {
	shared
	bare bool
}

func (f poll) Append(dst []byte, ev *hub.Event) []byte {
	if !f.bare {
		return appendEnvelope(dst, ev)
	}
	if ev.Kind == hub.EventMessage {
		return append(dst, ev.Message.Data...)
	}
	return dst // Gaps have a list of their own beside the messages.
}

// A poll is one answer: nothing is sent to show that it waits, and its end is
// its answer.
func (poll) AppendHeartbeat(dst []byte, _ int64, _ []byte) []byte { return dst }
func (poll) AppendEnd(dst []byte, _ hub.End, _ []byte) []byte     { return dst }
