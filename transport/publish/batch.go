package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"unicode/utf8"

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
	outcomes []outcome
}

// outcome is one message of a batch. Once refused, it is not published.
type outcome struct {
	publish hub.Publish
	result  hub.Result
	err     *codes.Error
}

// Len is the number of messages.
func (b *Batch) Len() int { return len(b.outcomes) }

// Add adds one message; one that is not in order gets its error as its result.
func (b *Batch) Add(it *Item, defaultRoom string, l Limits) {
	p, e := it.Publish(defaultRoom, l)
	b.outcomes = append(b.outcomes, outcome{publish: p, err: e})
}

// ParseBatch reads one object or an array of objects, in the form of Item. A
// body that is not of this form is refused as a whole.
func ParseBatch(body []byte, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	if e := checkText(body); e != nil {
		return Batch{}, e
	}
	text, err := compact(body)
	if err != nil {
		return Batch{}, notOfTheForm(err)
	}
	if text[0] != '[' {
		it, e := parseItem(text)
		if e != nil {
			return Batch{}, e
		}
		var b Batch
		b.Add(it, "", l)
		return b, nil
	}
	return ParseArray(text, "", l)
}

// ParseArray reads an array of objects that is compact, valid UTF-8 JSON.
func ParseArray(text []byte, defaultRoom string, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return Batch{}, notOfTheForm(err)
	}
	if len(elements) > l.Batch {
		return Batch{}, tooMany(l.Batch)
	}
	b := Batch{outcomes: make([]outcome, 0, len(elements))}
	for _, element := range elements {
		it, e := parseItem(element)
		if e != nil {
			return Batch{}, e
		}
		b.Add(it, defaultRoom, l)
	}
	return b, nil
}

// ParseLines reads one object a line; empty lines are skipped.
func ParseLines(body []byte, l Limits) (Batch, *codes.Error) {
	l = l.WithDefaults()
	if e := checkText(body); e != nil {
		return Batch{}, e
	}
	var b Batch
	for line := range bytes.Lines(body) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if b.Len() == l.Batch {
			return Batch{}, tooMany(l.Batch)
		}
		text, err := compact(line)
		if err != nil {
			return Batch{}, notOfTheForm(err)
		}
		it, e := parseItem(text)
		if e != nil {
			return Batch{}, e
		}
		b.Add(it, "", l)
	}
	return b, nil
}

func checkText(body []byte) *codes.Error {
	if len(body) == 0 {
		return codes.New(codes.EmptyBody, "there is nothing to publish").WithAllowed(formAllowed)
	}
	if !utf8.Valid(body) {
		return codes.New(codes.BadUTF8, "the body is not UTF-8")
	}
	return nil
}

func parseItem(text []byte) (*Item, *codes.Error) {
	// null would leave an empty Item.
	if text[0] != '{' {
		return nil, notOfTheForm(errors.New("an element is not an object"))
	}
	it := new(Item)
	if err := json.Unmarshal(text, it); err != nil {
		return nil, notOfTheForm(err)
	}
	return it, nil
}

const formAllowed = `{"room","data","key","ephemeral"} objects: one, an array of them, or one a line with application/x-ndjson`

func notOfTheForm(err error) *codes.Error {
	why := err.Error()
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		why = wrong.Field + " is a " + wrong.Value
	}
	return codes.New(codes.BadJSON, "nothing was published: "+why).WithAllowed(formAllowed)
}

func tooMany(limit int) *codes.Error {
	return codes.Newf(codes.BatchTooLarge, "over %d messages; nothing was published", limit).WithAllowed("1-" + strconv.Itoa(limit) + " messages")
}

// Run publishes what is in order, all of it at once, and keeps the results.
// It returns the first error that is the server's own fault, for its log.
func (b *Batch) Run(ctx context.Context, h Publisher) (fault error) {
	batch := make([]hub.Publish, 0, len(b.outcomes))
	for i := range b.outcomes {
		if b.outcomes[i].err == nil {
			batch = append(batch, b.outcomes[i].publish)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	results, n := h.Publish(ctx, batch), 0
	for i := range b.outcomes {
		o := &b.outcomes[i]
		if o.err != nil {
			continue
		}
		o.publish, o.result = batch[n], results[n]
		n++
		if o.result.Err != nil {
			o.err = Failed(o.result.Err, o.publish.Key)
			if fault == nil && o.err.Faulty() {
				fault = o.result.Err
			}
		}
	}
	return fault
}

// AppendResults appends the field "results": one object each, in order.
func (b *Batch) AppendResults(dst []byte) []byte {
	dst = append(dst, `"results":[`...)
	for i := range b.outcomes {
		if i > 0 {
			dst = append(dst, ',')
		}
		o := &b.outcomes[i]
		dst = append(dst, `{"status":`...)
		if o.err == nil {
			dst = strconv.AppendInt(dst, int64(Status(&o.result)), 10)
			dst = append(dst, ',')
			dst = wire.AppendPublished(dst, o.publish.Room, o.publish.ID, &o.result)
			dst = append(dst, '}')
			continue
		}
		dst = strconv.AppendInt(dst, int64(o.err.HTTPStatus()), 10)
		if o.publish.Room != "" {
			dst = append(dst, `,"room":"`...)
			dst = append(dst, o.publish.Room...)
			dst = append(dst, '"')
		}
		dst = append(dst, `,"error":`...)
		dst = o.err.AppendJSON(dst)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// Status is the HTTP status of a publish without an error.
func Status(r *hub.Result) int {
	if r.Duplicate {
		return http.StatusOK
	}
	return http.StatusCreated
}
