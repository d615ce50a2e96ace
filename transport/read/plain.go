package read

import "strings"

// Nonce is the parameter that clients let change so that no two of their
// requests are taken for one. It means nothing.
const Nonce = "n"

// Plain parses what most reading requests are: a GET that is in order, without
// a Last-Event-ID, with parameters that are all known here, or Nonce. It reports
// false for any other, which is for Parse: with Parse lie the errors, and the
// parameters that mean something to whoever is asked before a request is parsed.
// Where it reports true, the result is Parse's but for a Client that was not
// given, which has no name.
func Plain(rooms, query string, l Limits) (q Request, ok bool) {
	l = l.withDefaults()
	var p params
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		name, value, _ := strings.Cut(pair, "=")
		k := paramNamed(name)
		if k == pUnknown {
			if name == Nonce {
				continue
			}
			return Request{}, false
		}
		value, err := unescape(value)
		if err != nil {
			return Request{}, false
		}
		p.set(k, value)
	}
	if q.Rooms, _ = Rooms(rooms, l.Rooms); q.Rooms == nil {
		return Request{}, false
	}
	return q, q.fill(&p, "", l) == nil
}
