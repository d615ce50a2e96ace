package publish

import (
	"encoding/json"
	"errors"

	"github.com/culvertd/culvert/transport/codes"
)

// What parse.go does not take is read here, by encoding/json: it says what is
// wrong, and takes what is right but rarely written. It is the law that parse.go
// is tested against.

func decodeBatch(body []byte, l Limits) (Batch, *codes.Error) {
	text, err := compact(body)
	if err != nil {
		return Batch{}, notOfTheForm(err)
	}
	if text[0] == '[' {
		return decodeArray(text, "", l)
	}
	it, e := decodeItem(text)
	if e != nil {
		return Batch{}, e
	}
	var b Batch
	b.Add(it, "", l)
	return b, nil
}

// decodeArray reads compact JSON.
func decodeArray(text []byte, defaultRoom string, l Limits) (Batch, *codes.Error) {
	var elements []json.RawMessage
	if err := json.Unmarshal(text, &elements); err != nil {
		return Batch{}, notOfTheForm(err)
	}
	if len(elements) > l.Batch {
		return Batch{}, tooMany(l.Batch)
	}
	var b Batch
	b.expect(len(elements))
	for _, element := range elements {
		it, e := decodeItem(element)
		if e != nil {
			return Batch{}, e
		}
		b.Add(it, defaultRoom, l)
	}
	return b, nil
}

func decodeLine(line []byte) (*Item, *codes.Error) {
	text, err := compact(line)
	if err != nil {
		return nil, notOfTheForm(err)
	}
	return decodeItem(text)
}

// decodeItem reads compact JSON.
func decodeItem(text []byte) (*Item, *codes.Error) {
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

func notOfTheForm(err error) *codes.Error {
	why := err.Error()
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		why = wrong.Field + " is a " + wrong.Value
	}
	return codes.New(codes.BadJSON, "nothing was published: "+why).WithAllowed(formAllowed)
}
