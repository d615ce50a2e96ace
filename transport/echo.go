package transport

import (
	"crypto/rand"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/read"
)

// echoMethods are all that anybody may want to know of whether they pass.
var echoMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// Limits on what an echo takes in and gives back.
const (
	echoBody    = 64 << 10
	echoFill    = 64 << 10
	echoWait    = 2000 // milliseconds
	echoHeaders = 64
	echoValue   = 200
	echoNonce   = 64
	// How long the server has been there is told to whoever asks, so no more of
	// it than a doctor's tests may take.
	echoUptime = time.Hour
)

// echoed are the headers whose values may be shown: none of them can hold what
// a script must not see, such as a cookie that is hidden from it.
var echoed = map[string]bool{
	"accept": true, "accept-encoding": true, "cache-control": true, "connection": true, "content-length": true,
	"content-type": true, "forwarded": true, "idempotency-key": true, "last-event-id": true, "pragma": true,
	"sec-websocket-version": true, "te": true, "transfer-encoding": true, "upgrade": true, "user-agent": true,
	"via": true, "x-cache": true, "x-forwarded-for": true, "x-forwarded-host": true, "x-forwarded-port": true,
	"x-forwarded-proto": true, "x-real-ip": true,
}

// echo tells a client what arrived of its request (PROTOCOL.md, section 16).
func (s *Server) echo(c *gin.Context) {
	r := c.Request
	nonce, _, e := read.Lookup(r.URL.RawQuery, "n")
	if e == nil && nonce != "" && (len(nonce) > echoNonce || hub.ValidateRoom(nonce) != nil) {
		e = codes.New(codes.BadParameter, "n is no name").WithAllowed("up to 64 bytes of A-Z a-z 0-9 . _ ~ : @ -")
	}
	size, wait := 0, 0
	if e == nil {
		wait, e = read.LookupNumber(r.URL.RawQuery, "wait", 0, 0, echoWait)
	}
	if e == nil {
		size, e = read.LookupNumber(r.URL.RawQuery, "size", 0, 0, echoFill)
	}
	var body []byte
	if e == nil {
		body, e = read.Body(r, nil, echoBody, codes.BodyTooLarge)
	}
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	if wait > 0 {
		timer := time.NewTimer(time.Duration(wait) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	s.marshal(c, struct {
		Echo     string         `json:"echo,omitempty"`
		ID       string         `json:"id"`
		Method   string         `json:"method"`
		Protocol string         `json:"protocol"`
		Host     string         `json:"host"`
		Client   string         `json:"client"`
		Target   int            `json:"target"`
		Body     int            `json:"body"`
		Headers  map[string]any `json:"headers"`
		Time     int64          `json:"time"`
		Uptime   int64          `json:"uptime"`
		Fill     string         `json:"fill,omitempty"`
	}{
		nonce, rand.Text(), r.Method, r.Proto, clip(r.Host), client, len(r.RequestURI), len(body),
		echoedHeaders(r.Header), time.Now().UnixMilli(), min(time.Since(s.began), echoUptime).Milliseconds(), strings.Repeat("x", size),
	})
}

func echoedHeaders(h http.Header) map[string]any {
	told := make(map[string]any, min(len(h), echoHeaders))
	for name, values := range h {
		if len(told) == echoHeaders {
			break
		}
		name = strings.ToLower(clip(name))
		if told[name] = true; echoed[name] {
			told[name] = clip(strings.Join(values, ", "))
		}
	}
	return told
}

func clip(text string) string { return text[:min(len(text), echoValue)] }
