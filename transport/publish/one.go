package publish

import (
	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/read"
)

// One is what a request that publishes one message says besides its body. What
// is wrong with a request is told in one order, whoever reads it: ParseOne, then
// the body's size, then ParseBody.
type One struct {
	Room, Query string
	// Key is the idempotency key of the header, where Keyed is set; there may be
	// one in the query instead.
	Key   string
	Keyed bool
}

// ParseOne reads what a request says besides its body. keyed is true where
// there is an idempotency key, which ParseBody wants to know.
func ParseOne(p *hub.Publish, o One) (keyed bool, e *codes.Error) {
	p.Room = o.Room
	if err := hub.ValidateRoom(p.Room); err != nil {
		return false, codes.From(err)
	}
	if o.Query != "" {
		if p.Key, keyed, e = read.Lookup(o.Query, "key"); e != nil {
			return false, e
		}
		if p.Ephemeral, e = read.LookupSwitch(o.Query, "ephemeral"); e != nil {
			return false, e
		}
	}
	if o.Keyed {
		p.Key, keyed = o.Key, true
	}
	if keyed {
		if e := CheckKey(p.Key); e != nil {
			return false, e
		}
	}
	return keyed, nil
}

// ParseBody makes the message of a body, as Data does.
func ParseBody(p *hub.Publish, body []byte, strict, keyed bool) (e *codes.Error) {
	if p.Data, e = Data(body, strict); e != nil {
		return e
	}
	if keyed {
		p.Fingerprint = hub.FingerprintOf(p.Data, p.Ephemeral)
	}
	return nil
}
