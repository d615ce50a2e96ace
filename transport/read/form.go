package read

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/culvertd/culvert/transport/codes"
)

// param is one of the parameters of a read.
type param uint8

const (
	pCursor param = iota
	pLast
	pFrom
	pWait
	pLimit
	pFormat
	pPresence
	pClient
	pHeartbeat
	pPad
	pProbe
	numParams
	pUnknown = numParams
)

var paramNames = [...]string{"cursor", "last", "from", "wait", "limit", "format", "presence", "client", "heartbeat", "pad", "probe", "unknown"}

// String is the parameter's name.
func (k param) String() string { return paramNames[k] }

func paramNamed(name string) param {
	for k := range numParams {
		if paramNames[k] == name {
			return k
		}
	}
	return pUnknown
}

// params holds the parameters as text. Of several sources, and of a parameter
// that is there twice, the first one counts.
type params struct {
	text  [numParams]string
	given [numParams]bool
}

func (p *params) set(k param, text string) {
	if !p.given[k] {
		p.text[k], p.given[k] = text, true
	}
}

// addForm adds a=b&c=d. Unknown parameters are skipped, whatever they hold:
// clients put nonces there, and proxies add their own.
func (p *params) addForm(form string) *codes.Error {
	for form != "" {
		var pair string
		pair, form, _ = strings.Cut(form, "&")
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescape(name)
		k := paramNamed(name)
		if err != nil || k == pUnknown {
			continue
		}
		value, err = unescape(value)
		if err != nil {
			return badEscape(name)
		}
		p.set(k, value)
	}
	return nil
}

// unescape is url.QueryUnescape, which is not needed for most texts.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// addJSON adds the members of one JSON object. Numbers and strings mean the
// same, true and false are 1 and 0, null is as if it were not there.
func (p *params) addJSON(body []byte) *codes.Error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return codes.New(codes.BadJSON, "the body is not one JSON object").WithAllowed(`an object such as {"cursor":"...","wait":20}`)
	}
	for name, raw := range members {
		k := paramNamed(name)
		if k == pUnknown {
			continue
		}
		raw = bytes.TrimSpace(raw)
		switch c := raw[0]; {
		case c == '"':
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return codes.Newf(codes.BadJSON, "%s is not a JSON string", name)
			}
			p.set(k, text)
		case c == '-' || c >= '0' && c <= '9':
			p.set(k, string(raw))
		case c == 't':
			p.set(k, "1")
		case c == 'f':
			p.set(k, "0")
		case c == 'n':
		default:
			return codes.Newf(codes.BadParameter, "%s is neither a string nor a number", name)
		}
	}
	return nil
}

// Lookup returns the first value of one parameter in a=b&c=d.
func Lookup(form, name string) (value string, given bool, e *codes.Error) {
	for form != "" {
		var pair string
		pair, form, _ = strings.Cut(form, "&")
		key, value, _ := strings.Cut(pair, "=")
		if key, err := unescape(key); err != nil || key != name {
			continue
		}
		value, err := unescape(value)
		if err != nil {
			return "", true, badEscape(name)
		}
		return value, true, nil
	}
	return "", false, nil
}

// LookupNumber is Lookup for a whole number from low to high; missing is for
// one that is not there.
func LookupNumber(form, name string, missing, low, high int) (int, *codes.Error) {
	text, given, e := Lookup(form, name)
	if e != nil || !given {
		return missing, e
	}
	return number(text, name, low, high)
}

// LookupSwitch is Lookup for a parameter that is 1 or 0; it is 0 if not there.
func LookupSwitch(form, name string) (bool, *codes.Error) {
	text, given, e := Lookup(form, name)
	if e != nil || !given {
		return false, e
	}
	return onOff(text, name)
}

func badEscape(name string) *codes.Error {
	return codes.Newf(codes.BadParameter, "%s: a %% is not followed by two hexadecimal digits", name)
}

// number reads a whole decimal number.
func number(text, name string, low, high int) (int, *codes.Error) {
	// Not Atoi alone: it takes +5 and -0.
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high || text[0] == '+' || text[0] == '-' {
		return 0, codes.Newf(codes.BadParameter, "%s is not a whole number from %d to %d", name, low, high).
			WithAllowed(strconv.Itoa(low) + "-" + strconv.Itoa(high))
	}
	return n, nil
}

func onOff(text, name string) (bool, *codes.Error) {
	switch text {
	case "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, codes.Newf(codes.BadParameter, "%s is neither 1 nor 0", name).WithAllowed("1, 0")
}
