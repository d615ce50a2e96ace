package wire

import (
	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// ws is FormWS.
type ws struct{ shared }

func (ws) Append(dst []byte, ev *hub.Event) []byte {
	start := len(dst)
	return WrapWSText(appendEnvelope(dst, ev), start)
}

// AppendHeartbeat shows the server to scripts and, by the pong, the client to
// the server.
func (ws) AppendHeartbeat(dst []byte, unixMilli int64, cursor []byte) []byte {
	start := len(dst)
	dst = WrapWSText(AppendHeartbeat(dst, unixMilli, cursor), start)
	return AppendWSPing(dst)
}

func (ws) AppendEnd(dst []byte, end hub.End, cursor []byte) []byte {
	if silent(end) {
		return dst
	}
	start := len(dst)
	dst = WrapWSText(AppendBye(dst, end, cursor), start)
	return appendWSEnd(dst, end)
}

// wsBare is FormWSBare, and FormWSPage where it has a heartbeat.
type wsBare struct {
	shared
	heartbeat string
}

// Append shows messages only: a page that knows nothing of Culvert would take
// everything else for one.
func (wsBare) Append(dst []byte, ev *hub.Event) []byte {
	if ev.Kind != hub.EventMessage {
		return dst
	}
	start := len(dst)
	return WrapWSText(appendBare(dst, ev.Message.Data), start)
}

func (f wsBare) AppendHeartbeat(dst []byte, _ int64, _ []byte) []byte {
	if f.heartbeat != "" {
		start := len(dst)
		dst = WrapWSText(append(dst, f.heartbeat...), start)
	}
	return AppendWSPing(dst)
}

func (wsBare) AppendEnd(dst []byte, end hub.End, _ []byte) []byte {
	if silent(end) {
		return dst
	}
	return appendWSEnd(dst, end)
}

// appendWSEnd appends the close frame of an end. Its reason begins with the
// code, which is all that a bare connection hears of it.
func appendWSEnd(dst []byte, end hub.End) []byte {
	reason := end.Code
	if end.Message != "" {
		reason += ": " + end.Message
	}
	return AppendWSClose(dst, codes.New(codes.Code(end.Code), "").CloseCode(), reason)
}
