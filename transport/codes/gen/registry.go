package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
)

// entry is one object of codes.json: a code, or the title of the group of
// codes that follow.
type entry struct {
	Group string `json:"group"`

	Code            string `json:"code"`
	HTTP            int    `json:"http"`
	Close           int    `json:"close"`
	Reconnect       string `json:"reconnect"`
	RetryAfterMS    int    `json:"retry_after_ms"`
	MayHaveHappened bool   `json:"may_have_happened"`
	Summary         string `json:"summary"`
	Allowed         string `json:"allowed"`
}

type registry []entry

// codes are the entries that are codes.
func (r registry) codes() registry {
	var out registry
	for _, e := range r {
		if e.Group == "" {
			out = append(out, e)
		}
	}
	return out
}

var codeName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func parse(source []byte) (registry, error) {
	dec := json.NewDecoder(bytes.NewReader(source))
	dec.DisallowUnknownFields()
	var reg registry
	if err := dec.Decode(&reg); err != nil {
		return nil, fmt.Errorf("codes.json: %w", err)
	}
	names, closes := map[string]bool{}, map[int]string{}
	for _, e := range reg.codes() {
		if !codeName.MatchString(e.Code) {
			return nil, fmt.Errorf("codes.json: %q is not a code: use lower_case", e.Code)
		}
		if names[e.Code] {
			return nil, fmt.Errorf("codes.json: %s is there twice", e.Code)
		}
		names[e.Code] = true
		if e.Summary == "" {
			return nil, fmt.Errorf("codes.json: %s has no summary", e.Code)
		}
		if other := closes[e.Close]; e.Close != 0 && other != "" {
			return nil, fmt.Errorf("codes.json: %s and %s have the same close code", e.Code, other)
		}
		closes[e.Close] = e.Code
		if e.Close != 0 && closePolicy(e.Close) != e.Reconnect {
			return nil, fmt.Errorf("codes.json: %s: close code %d means %q by its range, not %q", e.Code, e.Close, closePolicy(e.Close), e.Reconnect)
		}
		if e.HTTP != 0 && httpPolicy(e.HTTP) != e.Reconnect {
			return nil, fmt.Errorf("codes.json: %s: HTTP status %d means %q, not %q", e.Code, e.HTTP, httpPolicy(e.HTTP), e.Reconnect)
		}
		switch e.Reconnect {
		case "now", "backoff", "never":
		default:
			return nil, fmt.Errorf("codes.json: %s: reconnect is now, backoff or never", e.Code)
		}
	}
	return reg, nil
}

// closePolicy is the table of PROTOCOL.md, section 14.
func closePolicy(code int) string {
	switch {
	case code >= 4000 && code <= 4099:
		return "now"
	case code >= 4100 && code <= 4199:
		return "backoff"
	case code >= 4400 && code <= 4599:
		return "never"
	}
	switch code {
	case 1000, 1002, 1003, 1007, 1008, 1009, 1010:
		return "never"
	}
	return "backoff"
}

// httpPolicy is the sentence below that table.
func httpPolicy(status int) string {
	if status >= 500 || status == 408 || status == 409 || status == 429 {
		return "backoff"
	}
	return "never"
}
