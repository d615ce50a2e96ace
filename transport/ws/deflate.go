package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// offersDeflate reports whether one of the request's offers of
// permessage-deflate (RFC 7692, section 7) can be answered with what gorilla
// says: no context takeover on either side, and windows of any size. One that
// wants a smaller window of the server cannot: a frame is compressed once for
// all clients.
func offersDeflate(r *http.Request) bool {
	for _, value := range r.Header["Sec-Websocket-Extensions"] {
		for offer := range strings.SplitSeq(value, ",") {
			name, params, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) == "permessage-deflate" && goodOffer(params) {
				return true
			}
		}
	}
	return false
}

func goodOffer(params string) bool {
	seen := make(map[string]bool)
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, valued := strings.Cut(param, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return false
			}
		case "client_max_window_bits":
			if valued && !windowBits(value) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func windowBits(value string) bool {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		value = value[1 : len(value)-1]
	}
	n, err := strconv.Atoi(value)
	return err == nil && n >= 8 && n <= 15 && strconv.Itoa(n) == value
}

var errDeflate = errors.New("a compressed message cannot be read")

// deflateTail is what a client leaves out behind a message (RFC 7692, section
// 7.2.2), and an empty last block, so that the reader finds an end.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflater reads compressed messages. It holds a window of 32 KiB, so it is
// used again.
type inflater struct {
	src     bytes.Reader
	fr      io.ReadCloser
	bounded io.LimitedReader
	out     bytes.Buffer
}

var inflaters = sync.Pool{New: func() any {
	i := new(inflater)
	i.fr = flate.NewReader(&i.src)
	return i
}}

// inflate returns what a compressed message says, which may have limit bytes:
// a few bytes may stand for gigabytes, so no more than that is ever made.
// It keeps no part of packed.
func inflate(packed []byte, limit int) ([]byte, error) {
	i := inflaters.Get().(*inflater)
	defer func() {
		i.src.Reset(nil)
		if i.out.Cap() <= maxPooled {
			inflaters.Put(i)
		}
	}()
	i.src.Reset(append(packed, deflateTail...))
	i.fr.(flate.Resetter).Reset(&i.src, nil)
	i.bounded = io.LimitedReader{R: i.fr, N: int64(limit) + 1}
	i.out.Reset()
	switch _, err := i.out.ReadFrom(&i.bounded); {
	case i.out.Len() > limit:
		return nil, errFrameLimit
	case err != nil:
		return nil, errDeflate
	}
	return bytes.Clone(i.out.Bytes()), nil
}
