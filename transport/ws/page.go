package ws

import (
	"context"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/publish"
	"github.com/culvertd/culvert/transport/wire"
)

// answerEvery bounds how often a page's heartbeat is answered: one that sends
// back whatever it gets must not be answered without an end.
const answerEvery = time.Second

// page takes a text that a bare client sent: a message to publish. The
// connection has no place for an error, so one closes it.
func (c *connection) page(text []byte) bool {
	hb := c.h.o.PageHeartbeat
	switch {
	case len(text) == 0:
		return true // Nothing to publish: some pages send it to stay alive.
	case c.form == wire.FormWSPage && hb != "" && string(text) == hb:
		now := time.Now()
		if now.Sub(c.answered) < answerEvery {
			return true
		}
		c.answered = now
		return c.sendFrame(wire.AppendWSText(nil, text)) == nil
	}
	if e := c.publishText(text); e != nil {
		c.end(e)
		return false
	}
	return true
}

func (c *connection) publishText(text []byte) *codes.Error {
	if limit := c.h.o.Publish.Message; len(text) > limit {
		return codes.Newf(codes.MessageTooLarge, "a message is over %d bytes", limit)
	}
	data, e := publish.Data(text, false)
	if e != nil {
		return e
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.h.o.CommandTimeout)
	defer cancel()
	batch := []hub.Publish{{Room: c.room, Data: data}}
	err := c.h.o.Hub.Publish(ctx, batch)[0].Err
	if err == nil {
		return nil
	}
	e = codes.From(err)
	c.fault(e, err)
	return e
}
