package wire

import (
	"strconv"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
)

// EndClosed is the code of an end that the client asked for and that has been
// answered already, by a close frame of its own: what was sent before still
// goes out, and nothing is added.
const EndClosed = "closed"

// silent reports an end without last words.
func silent(end hub.End) bool { return end.Code == "" || end.Code == EndClosed }

// AppendBye appends the envelope with which the server ends a connection.
func AppendBye(dst []byte, end hub.End, cursor []byte) []byte {
	info, _ := codes.Lookup(codes.Code(end.Code))
	dst = appendText(dst, `{"type":"bye","code":`, end.Code)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, end.Message)
	dst = appendText(dst, `,"reconnect":`, string(info.Reconnect))
	dst = appendInt(dst, `,"after_ms":`, end.After.Milliseconds())
	dst = appendText(dst, `,"cursor":`, cursor)
	return append(dst, '}')
}

// AppendError appends the envelope of an error that belongs to no command.
func AppendError(dst []byte, e *codes.Error) []byte {
	dst = append(dst, `{"type":"error","error":`...)
	dst = e.AppendJSON(dst)
	return append(dst, '}')
}

// AppendReply opens the envelope of a reply that says yes: the caller appends
// further fields, each with a comma before it, and the closing brace. ref is
// the command's, as JSON.
func AppendReply(dst, ref []byte) []byte {
	dst = append(dst, `{"type":"reply","ref":`...)
	dst = append(dst, ref...)
	return append(dst, `,"ok":true`...)
}

// AppendErrorReply appends the envelope of a reply that says no.
func AppendErrorReply(dst, ref []byte, e *codes.Error) []byte {
	dst = append(dst, `{"type":"reply","ref":`...)
	dst = append(dst, ref...)
	dst = append(dst, `,"ok":false,"error":`...)
	dst = e.AppendJSON(dst)
	return append(dst, '}')
}

// AppendPublished appends the fields that say what became of a publish
// without an error: "room","offset","epoch","id","time","cursor","duplicate".
// id is the message's own, used where it has no place in the history; a
// duplicate of such a message has none.
func AppendPublished(dst []byte, room, id string, r *hub.Result) []byte {
	dst = appendText(dst, `"room":`, room)
	if p := r.Position; p.IsZero() {
		if !r.Duplicate { // the first one's id is not kept, and this message was never delivered
			dst = appendText(dst, `,"id":`, id)
		}
		dst = appendInt(dst, `,"time":`, r.Time)
	} else {
		dst = append(dst, `,"offset":`...)
		dst = strconv.AppendUint(dst, p.Offset, 10)
		dst = appendText(dst, `,"epoch":`, p.Epoch)
		dst = appendText(dst, `,"id":`, p.ID)
		dst = appendInt(dst, `,"time":`, r.Time)
		dst = append(dst, `,"cursor":"`...)
		dst = appendPlace(dst, room, p)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"duplicate":`...)
	return strconv.AppendBool(dst, r.Duplicate)
}

// AppendTime appends the field "time".
func AppendTime(dst []byte, unixMilli int64) []byte {
	return appendInt(dst, `"time":`, unixMilli)
}

// AppendPresent appends the fields that say who is in a room: "room",
// "members", "count".
func AppendPresent(dst []byte, room string, p *hub.Presence) []byte {
	dst = appendText(dst, `"room":`, room)
	dst = append(dst, `,"members":[`...)
	for i := range p.Members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendMember(dst, &p.Members[i])
	}
	return appendInt(append(dst, ']'), `,"count":`, int64(p.Count))
}
