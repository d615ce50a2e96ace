package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bubble makes a client of a real HTTP server that runs handler, connected by
// net.Pipe inside a synctest bubble, so that back-off and silence cost no time.
func bubble(t *testing.T, handler http.HandlerFunc) *Client {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: flushing(handler), ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(l)
	c := New("http://culvert.test")
	c.http.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		l.conns <- theirs
		return ours, nil
	}
	t.Cleanup(func() {
		c.Close()
		server.Close()
	})
	return c
}

// flushing sends every Write at once.
func flushing(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next(&flushWriter{w}, r) })
}

type flushWriter struct{ http.ResponseWriter }

func (w *flushWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestParseURL(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"http://localhost:8080", "http://localhost:8080"},
		{"localhost:8080", "http://localhost:8080"},
		{"https://example.org/culvert/", "https://example.org/culvert"},
		{"", ""}, {"ftp://a", ""}, {"http://", ""}, {"http://a?b=c", ""}, {"http://a#b", ""}, {":", ""}, {"http:/localhost:8080", ""},
	} {
		got, err := ParseURL(tt.text)
		if (err != nil) != (tt.want == "") || err == nil && got != tt.want {
			t.Errorf("%q: %q, %v, want %q", tt.text, got, err, tt.want)
		}
	}
}

// TestPublishRepeats: until there is an answer, always with the same key.
func TestPublishRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		c := bubble(t, func(w http.ResponseWriter, r *http.Request) {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
			switch len(keys) {
			case 1:
				panic(http.ErrAbortHandler)
			case 2:
				w.WriteHeader(http.StatusGatewayTimeout)
				io.WriteString(w, `{"protocol":1,"error":{"code":"outcome_unknown","message":"may have happened","retry_after_ms":3000}}`)
			case 3:
				w.WriteHeader(http.StatusBadGateway)
				io.WriteString(w, "<html>")
			default:
				io.WriteString(w, `{"offset":1,"duplicate":true}`+"\n")
			}
		})
		var failed []string
		var waits []time.Duration
		c.Report = func(err error, wait time.Duration) { failed, waits = append(failed, err.Error()), append(waits, wait) }
		answer, err := c.Publish(t.Context(), Publish{Room: "lobby", Data: []byte("hi"), Key: "k"})
		if err != nil || string(answer) != `{"offset":1,"duplicate":true}` {
			t.Fatalf("%s, %v", answer, err)
		}
		if fmt.Sprint(keys) != "[k k k k]" {
			t.Errorf("keys %q", keys)
		}
		if len(failed) != 3 || waits[1] < 3*time.Second || waits[0] > firstWait {
			t.Errorf("reported %q, waited %v", failed, waits)
		}
	})
}

// TestSchemeMismatch: a server that speaks no TLS does not learn it by waiting.
func TestSchemeMismatch(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	c := New("https" + strings.TrimPrefix(server.URL, "http"))
	defer c.Close()
	c.Report = func(err error, _ time.Duration) { t.Errorf("%v is repeated", err) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Publish(ctx, Publish{Room: "lobby", Data: []byte("hi"), Key: "k"}); !errors.Is(err, http.ErrSchemeMismatch) {
		t.Error(err)
	}
}

func TestNameHasNoPassword(t *testing.T) {
	if got := New("http://ann:hunter2@localhost:8080/a").String(); got != "http://ann:xxxxx@localhost:8080/a" {
		t.Error(got)
	}
}

func TestPublishGivesUp(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   string
	}{
		{http.StatusUnprocessableEntity, `{"protocol":1,"error":{"code":"key_conflict","message":"other content"}}`, "other content (key_conflict, HTTP 422)"},
		{http.StatusBadRequest, `{"protocol":1,"error":{"code":"bad_room","message":"no","allowed":"letters"}}`, "no; allowed: letters (bad_room, HTTP 400)"},
		{http.StatusForbidden, `{"error":{"code":"forbidden","message":"a gateway's"}}`, "what answers there is not Culvert (HTTP 403)"},
		{http.StatusNotFound, "<html>", "what answers there is not Culvert (HTTP 404)"},
		{http.StatusNotImplemented, "<html>", "what answers there is not Culvert (HTTP 501)"},
		{http.StatusBadRequest, "Client sent an HTTP request to an HTTPS server.\n", "what answers there is not Culvert (HTTP 400: Client sent an HTTP request to an HTTPS server.)"},
		{http.StatusOK, "<html>", "what answers there is not Culvert"},
		{http.StatusBadGateway, "<html>", "Bad Gateway (HTTP 502)"},
		{http.StatusServiceUnavailable, `{"protocol":1,"error":{"code":"draining","message":"shutting down"}}`, "shutting down (draining, HTTP 503)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := bubble(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.Publish(ctx, Publish{Room: "lobby", Data: []byte("hi"), Key: "k"}); err == nil || err.Error() != tt.want {
				t.Errorf("%d %s: %v", tt.status, tt.body, err)
			}
		})
	}
}

const (
	hello   = `{"type":"hello","client":"c1","cursor":"a=e.1.x,b=0","heartbeat":5}` + "\n"
	message = `{"type":"message","room":%q,"epoch":"e","offset":%d,"id":"i%[2]d","data":%[2]d}` + "\n"
)

// TestReadResumes: each way in which a connection can end leads to the next
// one, which asks from behind what was handled, under the same client name.
func TestReadResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		c := bubble(t, func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			asked = append(asked, r.PostForm.Get("cursor")+"|"+r.PostForm.Get("client")+"|"+r.PostForm.Get("last"))
			switch len(asked) {
			case 1: // breaks before anything came
				panic(http.ErrAbortHandler)
			case 2: // ends after hello and a message
				io.WriteString(w, hello)
				fmt.Fprintf(w, message, "a", 2)
			case 3: // falls silent
				io.WriteString(w, hello)
				fmt.Fprintf(w, message, "b", 1)
				<-r.Context().Done()
			case 4: // a gap, an ephemeral message, and a shut-down
				io.WriteString(w, `{"type":"gap","room":"a","reason":"evicted","from":"a=e.2.i2","to":"a=e.9.i9","missed":7}`+"\n")
				io.WriteString(w, `{"type":"message","room":"a","ephemeral":true,"id":"zz","data":0}`+"\n\n")
				io.WriteString(w, `{"type":"bye","code":"draining","message":"bye","reconnect":"backoff","after_ms":4000,"cursor":"a=e.9.i9,b=e.1.i1"}`+"\n")
			case 5:
				w.WriteHeader(http.StatusServiceUnavailable)
				io.WriteString(w, `{"protocol":1,"error":{"code":"behind","message":"not yet","retry_after_ms":1000}}`)
			default:
				io.WriteString(w, `{"type":"heartbeat","cursor":"a=e.9.i9,b=e.5.i5"}`+"\n")
				fmt.Fprintf(w, message, "a", 10)
				<-r.Context().Done()
			}
		})
		var waits []time.Duration
		c.Report = func(_ error, wait time.Duration) { waits = append(waits, wait) }
		r := c.NewReader(Read{Rooms: []string{"a", "b"}, Last: 3})
		var got []string
		enough := errors.New("enough")
		err := r.Run(t.Context(), func(e *Envelope) error {
			got = append(got, fmt.Sprint(e.Type, e.Room, e.Offset))
			if e.Offset == 10 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		if want := "[messagea2 messageb1 gapa0 messagea0 messagea10]"; fmt.Sprint(got) != want {
			t.Errorf("got  %v\nwant %s", got, want)
		}
		want := []string{
			"||3", "||3",
			"a=e.2.i2,b=0|c1|3",
			"a=e.1.x,b=e.1.i1|c1|3", // the place of a is what the last hello said
			"a=e.9.i9,b=e.1.i1|c1|3", "a=e.9.i9,b=e.1.i1|c1|3",
		}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("asked\n%q, want\n%q", asked, want)
		}
		if len(waits) == 5 && waits[3] < 4*time.Second {
			t.Errorf("waited %v, bye asked for 4s", waits)
		}
		// What handle refused is not behind the cursor.
		if got, want := r.Cursor(), "a=e.9.i9,b=e.5.i5"; got != want {
			t.Errorf("cursor %s, want %s", got, want)
		}
		err = r.Run(t.Context(), func(e *Envelope) error { return ErrStop })
		if !errors.Is(err, ErrStop) {
			t.Fatal(err)
		}
		if got, want := r.Cursor(), "a=e.10.i10,b=e.5.i5"; got != want {
			t.Errorf("cursor %s, want %s", got, want)
		}
	})
}

func TestReadStops(t *testing.T) {
	for _, tt := range []struct {
		status     int
		body, want string
	}{
		{http.StatusBadRequest, `{"protocol":1,"error":{"code":"bad_cursor","message":"no"}}`, "no (bad_cursor, HTTP 400)"},
		{http.StatusOK, `{"type":"bye","code":"origin_not_allowed","message":"no","reconnect":"never"}` + "\n", "no (origin_not_allowed)"},
		{http.StatusOK, "<html>\n", "what answers there is not Culvert"},
		{http.StatusForbidden, "<html>\n", "what answers there is not Culvert (HTTP 403)"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := bubble(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			err := c.NewReader(Read{Rooms: []string{"a"}, Last: -1}).Run(t.Context(), func(*Envelope) error { return nil })
			if err == nil || err.Error() != tt.want {
				t.Errorf("%s: %v", tt.body, err)
			}
		})
	}
}

// TestReadBacksOff: a server that ends every connection at once is not asked
// in a tight loop.
func TestReadBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := bubble(t, func(http.ResponseWriter, *http.Request) { asked++ })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		c.NewReader(Read{Rooms: []string{"a"}, Last: -1}).Run(ctx, func(*Envelope) error { return nil })
		if asked < 30 || asked > 150 { // every 10 s on average once the bound is reached
			t.Errorf("asked %d times in 10 minutes", asked)
		}
	})
}

func TestLongLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := bubble(t, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"type":"message","room":"a","data":"%s"}`+"\n", strings.Repeat("x", 1<<20))
		})
		done := errors.New("done")
		err := c.NewReader(Read{Rooms: []string{"a"}, Last: -1}).Run(t.Context(), func(e *Envelope) error {
			if len(e.Data) != 1<<20+2 {
				t.Errorf("%d bytes", len(e.Data))
			}
			return done
		})
		if !errors.Is(err, done) {
			t.Error(err)
		}
	})
}
