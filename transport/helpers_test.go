package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/memory"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// service is a Server on a real hub and the memory store, with stand-ins for
// the transports that take connections over.
type service struct {
	*Server
	t     testing.TB
	hub   *hub.Hub
	store *faultyStore
	log   *syncBuffer
}

// faultyStore fails where it is told to.
type faultyStore struct {
	hub.Store
	mu sync.Mutex
	// guarded by mu
	err    error
	panics bool
	hangs  bool
}

func (f *faultyStore) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faultyStore) fault(ctx context.Context) error {
	f.mu.Lock()
	err, panics, hangs := f.err, f.panics, f.hangs
	f.mu.Unlock()
	if panics {
		panic("a fault of the program")
	}
	if hangs {
		<-ctx.Done()
		err = fmt.Errorf("%w: %w", hub.ErrUnavailable, ctx.Err())
	}
	return err
}

func (f *faultyStore) Publish(ctx context.Context, batch []hub.Publish) []hub.Result {
	if err := f.fault(ctx); err != nil {
		results := make([]hub.Result, len(batch))
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	return f.Store.Publish(ctx, batch)
}

func (f *faultyStore) Read(ctx context.Context, r hub.ReadRequest) (hub.Page, error) {
	if err := f.fault(ctx); err != nil {
		return hub.Page{}, err
	}
	return f.Store.Read(ctx, r)
}

func (f *faultyStore) Present(ctx context.Context, room string, limit int) (hub.Presence, error) {
	if err := f.fault(ctx); err != nil {
		return hub.Presence{}, err
	}
	return f.Store.Present(ctx, room, limit)
}

func (f *faultyStore) Ping(ctx context.Context) error {
	if err := f.fault(ctx); err != nil {
		return err
	}
	return f.Store.Ping(ctx)
}

// standIn answers with the name of the transport that it stands for.
type standIn struct{}

func answerName(w http.ResponseWriter, name string, q read.Request) {
	w.Header().Set("X-Transport", name)
	fmt.Fprint(w, strings.Join(q.Rooms, ","))
}

func (standIn) Serve(w http.ResponseWriter, _ *http.Request, q read.Request) { answerName(w, "ws", q) }
func (standIn) Refuse(w http.ResponseWriter, _ *http.Request, e *codes.Error) {
	w.Header().Set("X-Transport", "ws refuses "+string(e.Code))
}
func (standIn) ServeBare(w http.ResponseWriter, _ *http.Request, room string) {
	w.Header().Set("X-Transport", "bare ws of "+room)
}

func standIns() Transports {
	named := func(name string) func(http.ResponseWriter, *http.Request, read.Request) {
		return func(w http.ResponseWriter, _ *http.Request, q read.Request) { answerName(w, name, q) }
	}
	return Transports{WebSocket: standIn{}, SSE: named("sse"), NDJSON: named("ndjson")}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newService(t testing.TB, o Options) *service {
	t.Helper()
	return newServiceOn(t, o, memory.Options{})
}

func newServiceOn(t testing.TB, o Options, m memory.Options) *service {
	t.Helper()
	store, err := memory.New(m)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, store: &faultyStore{Store: store}, log: new(syncBuffer)}
	if s.hub, err = hub.New(s.store, hub.Options{Framings: wire.Framings(wire.Options{})}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	}
	if s.Server, err = New(s.hub, standIns(), o); err != nil {
		t.Fatal(err)
	}
	return s
}

// close may be called before the test's end, inside a synctest bubble.
func (s *service) close() {
	s.hub.Close()
	s.store.Close()
}

// do sends one request. headers are pairs.
func (s *service) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// answer is every field that an answer of the tested addresses may have.
type answer struct {
	Room      string
	Offset    uint64
	Epoch     string
	ID        string
	Time      int64
	Cursor    string
	Duplicate bool

	Protocol int
	Messages []json.RawMessage
	Gaps     []json.RawMessage
	Gap      *struct {
		Reason   string
		From, To string
		Missed   int
	}
	Bye    *struct{ Code, Reconnect string }
	Before string
	More   bool

	Members []struct {
		Client string
		Since  int64
	}
	Count   int
	Results []struct {
		Status int
		Room   string
		Offset uint64
		Error  *errorBody
	}
	Error *errorBody
}

type errorBody struct {
	Code         codes.Code
	Message      string
	Allowed      string
	RetryAfterMS int `json:"retry_after_ms"`
}

// decode reads an answer, which must be JSON of the given status; an error must
// be marked as Culvert's.
func (s *service) decode(w *httptest.ResponseRecorder, status int) answer {
	s.t.Helper()
	if w.Code != status {
		s.t.Fatalf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		s.t.Fatalf("Content-Type %q: %s", got, w.Body)
	}
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		s.t.Fatalf("%v: %s", err, w.Body)
	}
	if a.Error != nil && a.Protocol != wire.Protocol {
		s.t.Fatalf("an error without the mark: %s", w.Body)
	}
	return a
}

// publish publishes n messages, the numbers from 1, and returns their answers.
func (s *service) publish(room string, n int) []answer {
	s.t.Helper()
	answers := make([]answer, n)
	for i := range answers {
		answers[i] = s.decode(s.do("POST", "/rooms/"+room, fmt.Sprint(i+1)), http.StatusCreated)
	}
	return answers
}

// data are the data of enveloped messages.
func (s *service) data(messages []json.RawMessage) string {
	s.t.Helper()
	var texts []string
	for _, raw := range messages {
		var m struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			s.t.Fatal(err)
		}
		if m.Type != "message" {
			texts = append(texts, m.Type)
			continue
		}
		texts = append(texts, string(m.Data))
	}
	return strings.Join(texts, " ")
}
