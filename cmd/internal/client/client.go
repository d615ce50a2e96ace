// Package client speaks to a Culvert server over plain HTTP: it publishes with
// an idempotency key until it has an answer, and reads the NDJSON stream,
// resuming from its cursor.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Client is a server's address and how to reach it.
type Client struct {
	base string
	http *http.Client
	// Report hears of every failed attempt that will be repeated. It may be nil.
	Report func(err error, wait time.Duration)
}

// ParseURL checks the address of a server, such as http://localhost:8080; a
// text without a scheme means http. What it returns has no slash at its end.
func ParseURL(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("it must be the address of a server, such as http://localhost:8080")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// New makes a client of the server at base, as ParseURL returns it.
func New(base string) *Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerPatience
	return &Client{base: base, http: &http.Client{Transport: transport}}
}

// String is the server's address without a password, for people.
func (c *Client) String() string {
	u, err := url.Parse(c.base)
	if err != nil {
		return c.base
	}
	return u.Redacted()
}

// answerPatience is how long an attempt waits for the head of an answer.
const answerPatience = 10 * time.Second

// Close closes the connections that are kept for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends a request. The error is without the method and the URL, which may
// hold a password and which the user knows.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return nil, wrapped.Err
	}
	return resp, err
}

// Error is an error that the server told.
type Error struct {
	// Status is the HTTP status, 0 for an error told on a stream.
	Status int `json:"-"`
	// Temporary: the same request may succeed later.
	Temporary bool `json:"-"`

	Code    string `json:"code"`
	Message string `json:"message"`
	Allowed string `json:"allowed"`
	After   int64  `json:"retry_after_ms"`
}

func (e *Error) Error() string {
	text := e.Message
	if e.Allowed != "" {
		text += "; allowed: " + e.Allowed
	}
	switch {
	case e.Status == 0:
		return fmt.Sprintf("%s (%s)", text, e.Code)
	case e.Code == "": // not Culvert's
		return fmt.Sprintf("%s (HTTP %d)", text, e.Status)
	}
	return fmt.Sprintf("%s (%s, HTTP %d)", text, e.Code, e.Status)
}

// temporary reports whether the same request may succeed later, and how long
// the server asked to wait. An error that is not an *Error is one of the
// network, and may pass.
func temporary(err error) (after time.Duration, ok bool) {
	var e *Error
	if !errors.As(err, &e) {
		return 0, !errors.Is(err, errForeign) && !errors.Is(err, http.ErrSchemeMismatch)
	}
	return time.Duration(e.After) * time.Millisecond, e.Temporary
}

// temporaryStatus is the protocol's rule for HTTP.
func temporaryStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

var errForeign = errors.New("what answers there is not Culvert")

// readError reads the error in an answer.
func readError(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if e := parseError(body); e != nil {
		e.Status, e.Temporary = resp.StatusCode, temporaryStatus(resp.StatusCode)
		return e
	}
	// A proxy or another program answered. What it says may pass as well, unless
	// it does not know what was asked for.
	status := resp.StatusCode
	if temporaryStatus(status) && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
		e := &Error{Status: status, Temporary: true, Message: cmp.Or(http.StatusText(status), "an answer without words")}
		if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
			e.After = int64(min(s, 60)) * 1000
		}
		return e
	}
	if text := words(body); text != "" {
		return fmt.Errorf("%w (HTTP %d: %s)", errForeign, status, text)
	}
	return fmt.Errorf("%w (HTTP %d)", errForeign, status)
}

// Told is what the body of an answer says why it is no success, in a line: the
// server's error and its code, or the words of another program, "" where it is a
// page or nothing. ours tells whether Culvert says so.
func Told(body []byte) (text string, ours bool) {
	if e := parseError(body); e != nil {
		return e.Error(), true
	}
	return words(body), false
}

// parseError returns Culvert's error, or nil.
func parseError(body []byte) *Error {
	var told struct {
		Protocol int // what others say, in whatever words, has none
		Error    *Error
	}
	if json.Unmarshal(body, &told) != nil || told.Protocol != 1 || told.Error == nil || told.Error.Code == "" {
		return nil
	}
	return told.Error
}

// words returns a body that is a line of text, as a server of HTTPS has for a
// client of plain HTTP.
func words(body []byte) string {
	text := strings.TrimSpace(string(body))
	if len(text) > 120 || strings.ContainsAny(text, "<>{}") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return text
}

// The back-off between attempts: full jitter under a bound that doubles.
const (
	firstWait = 500 * time.Millisecond
	lastWait  = 20 * time.Second
)

// wait sleeps before attempt n+1 (n counts from 0), at least after, and
// reports the error that makes it necessary.
func (c *Client) wait(ctx context.Context, n int, after time.Duration, cause error) error {
	bound := min(firstWait<<min(n, 10), lastWait)
	d := after + rand.N(bound)
	if c.Report != nil {
		c.Report(cause, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Publish is one message to publish.
type Publish struct {
	Room string
	// Data is JSON, or else UTF-8 text.
	Data []byte
	// Key is required: it makes repeating safe.
	Key       string
	Ephemeral bool
}

// Publish publishes a message and returns the server's answer. It repeats the
// request, with the same key, until it has one or ctx ends.
func (c *Client) Publish(ctx context.Context, p Publish) (answer []byte, err error) {
	target := c.base + "/rooms/" + url.PathEscape(p.Room)
	if p.Ephemeral {
		target += "?ephemeral=1"
	}
	for n := 0; ; n++ {
		answer, err = c.publishOnce(ctx, target, p)
		if err == nil {
			return answer, nil
		}
		after, ok := temporary(err)
		if !ok || ctx.Err() != nil {
			return nil, err
		}
		if c.wait(ctx, n, after, err) != nil {
			return nil, err
		}
	}
}

func (c *Client) publishOnce(ctx context.Context, target string, p Publish) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(p.Data))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "text/plain; charset=utf-8")
	r.Header.Set("Idempotency-Key", p.Key)
	resp, err := c.do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		return nil, readError(resp)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if !json.Valid(answer) {
		return nil, errForeign
	}
	return bytes.TrimSpace(answer), nil
}
