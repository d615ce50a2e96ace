package publish

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/wire"
)

// Publisher is the part of a hub that publishes.
type Publisher interface {
	Publish(ctx context.Context, batch []hub.Publish) []hub.Result
}

// Item is one message of a batch, or of a WebSocket command, as JSON.
type Item struct {
	Room      *string         `json:"room"`
	Data      json.RawMessage `json:"data"`
	Key       *string         `json:"key"`
	Ephemeral bool            `json:"ephemeral"`
}

// Publish checks the item. An item that names no room is for defaultRoom, ""
// for none. Data is taken as compact, valid UTF-8 JSON.
func (it *Item) Publish(defaultRoom string, l Limits) (hub.Publish, *codes.Error) {
	p := hub.Publish{Room: defaultRoom, Data: it.Data, Ephemeral: it.Ephemeral}
	if it.Room != nil {
		p.Room = *it.Room
	} else if defaultRoom == "" {
		return p, codes.New(codes.BadRoom, "room is missing")
	}
	if err := hub.ValidateRoom(p.Room); err != nil {
		p.Room = "" // It is not repeated in the answer.
		return p, codes.From(err)
	}
	if it.Data == nil {
		return p, codes.New(codes.BadJSON, "data is missing").WithAllowed("any JSON value")
	}
	if limit := l.WithDefaults().Message; len(it.Data) > limit {
		return p, codes.Newf(codes.MessageTooLarge, "data is over %d bytes", limit)
	}
	if it.Key != nil {
		if e := CheckKey(*it.Key); e != nil {
			return p, e
		}
		p.Key = *it.Key
		p.Fingerprint = hub.FingerprintOf(p.Data, p.Ephemeral)
	}
	return p, nil
}

// Batch is many messages to publish, and what became of each. Its zero value
// is an empty batch.
type Batch struct {
	publish []hub.Publish // what is in order
	results []hub.Result  // what became of it, once it was published
	refused []refusal     // the rest, first come first
}

// refusal is a message that is not published.
type refusal struct {
	at   int // place in the batch
	room string
	err  *codes.Error
}

// Len is the number of messages.
func (b *Batch) Len() int { return len(b.publish) + len(b.refused) }

// places are what batches were put together in, empty.
var places = sync.Pool{New: func() any { return new([]hub.Publish) }}

// maxPlaces is the most messages for which a place is kept.
const maxPlaces = 1000

// expect makes place for so many messages.
func (b *Batch) expect(n int) {
	if place := places.Get().(*[]hub.Publish); cap(*place) >= n {
		b.publish = *place
	} else {
		b.publish = make([]hub.Publish, 0, n)
	}
}

// Free lets the next batch use this one's memory, when nothing is wanted of it
// any more. It is then empty.
func (b *Batch) Free() {
	place := b.publish[:0]
	clear(b.publish)
	*b = Batch{}
	if 0 < cap(place) && cap(place) <= maxPlaces {
		places.Put(&place)
	}
}

// Add adds one message; one that is not in order gets its error as its result.
func (b *Batch) Add(it *Item, defaultRoom string, l Limits) {
	p, e := it.Publish(defaultRoom, l)
	if e != nil {
		b.refused = append(b.refused, refusal{at: b.Len(), room: p.Room, err: e})
		return
	}
	b.publish = append(b.publish, p)
}

// Run publishes what is in order, all of it at once, and keeps the results.
// It returns the first error that is the server's own fault, for its log.
func (b *Batch) Run(ctx context.Context, h Publisher) (fault error) {
	if len(b.publish) == 0 {
		return nil
	}
	b.results = h.Publish(ctx, b.publish)
	for i := range b.results {
		if err := b.results[i].Err; err != nil && b.failed(i).Faulty() {
			return err
		}
	}
	return nil
}

// failed is what the client is told of publish[i], which failed.
func (b *Batch) failed(i int) *codes.Error { return Failed(b.results[i].Err, b.publish[i].Key) }

// AppendResults appends the field "results": one object each, in order.
func (b *Batch) AppendResults(dst []byte) []byte {
	dst = append(dst, `"results":[`...)
	next := 0 // of publish
	for i := range b.Len() {
		if i > 0 {
			dst = append(dst, ',')
		}
		if refused := i - next; refused < len(b.refused) && b.refused[refused].at == i {
			dst = appendRefused(dst, b.refused[refused].room, b.refused[refused].err)
			continue
		}
		p, r := &b.publish[next], &b.results[next]
		if r.Err != nil {
			dst = appendRefused(dst, p.Room, b.failed(next))
		} else {
			dst = append(dst, `{"status":`...)
			dst = strconv.AppendInt(dst, int64(Status(r)), 10)
			dst = append(dst, ',')
			dst = wire.AppendPublished(dst, p.Room, p.ID, r)
			dst = append(dst, '}')
		}
		next++
	}
	return append(dst, ']')
}

func appendRefused(dst []byte, room string, e *codes.Error) []byte {
	dst = append(dst, `{"status":`...)
	dst = strconv.AppendInt(dst, int64(e.HTTPStatus()), 10)
	if room != "" {
		dst = append(dst, `,"room":"`...)
		dst = append(dst, room...)
		dst = append(dst, '"')
	}
	dst = append(dst, `,"error":`...)
	dst = e.AppendJSON(dst)
	return append(dst, '}')
}

// Status is the HTTP status of a publish without an error.
func Status(r *hub.Result) int {
	if r.Duplicate {
		return http.StatusOK
	}
	return http.StatusCreated
}
