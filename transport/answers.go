package transport

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/transport/codes"
	"github.com/culvertd/culvert/transport/history"
	"github.com/culvertd/culvert/transport/read"
	"github.com/culvertd/culvert/transport/wire"
)

// The headers of every JSON answer, shared as varyOrigin is.
var (
	typeJSON = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// writeJSON answers with a complete body.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h["Content-Type"] = typeJSON
	h["Cache-Control"] = noStore
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) // A client that is gone can be told nothing.
}

// shortAnswer is up to which size net/http makes the Content-Length itself, and
// cheaper: in its buffer an answer is whole before its head goes out.
const shortAnswer = 2048

// writePublished answers a publish as writeJSON does, for a method that has a
// body in its answer.
func writePublished(w http.ResponseWriter, status int, body []byte) {
	if len(body) > shortAnswer {
		writeJSON(w, status, body)
		return
	}
	h := w.Header()
	h["Content-Type"] = typeJSON
	h["Cache-Control"] = noStore
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// room is the one room in the path, or an answer.
func (s *Server) room(c *gin.Context) (string, bool) {
	room := c.Param("rooms")
	if err := hub.ValidateRoom(room); err != nil {
		s.fail(c, err)
		return "", false
	}
	return room, true
}

// history serves GET /rooms/{room}/history.
func (s *Server) history(c *gin.Context) {
	room, ok := s.room(c)
	if !ok {
		return
	}
	req, e := parseHistory(room, c.Request.URL.RawQuery)
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.o.ReadTimeout)
	defer cancel()
	page, err := s.hub.Read(ctx, req)
	if err != nil {
		s.fail(c, err)
		return
	}
	sc := s.takeScratch()
	defer s.giveScratch(sc)
	sc.answer = append(sc.answer[:0], "{"+codes.Mark...)
	sc.answer = history.AppendPage(sc.answer, &req, &page, time.Now().UnixMilli())
	sc.answer = append(sc.answer, '}', '\n')
	writeJSON(c.Writer, http.StatusOK, sc.answer)
}

func parseHistory(room, query string) (req hub.ReadRequest, e *codes.Error) {
	q := history.Query{Room: room}
	if q.Limit, e = read.LookupNumber(query, "limit", history.DefaultLimit, 1, history.MaxLimit); e != nil {
		return req, e
	}
	if q.After, e = lookupPlace(query, "after"); e != nil {
		return req, e
	}
	if q.Before, e = lookupPlace(query, "before"); e != nil {
		return req, e
	}
	if q.From, _, e = read.Lookup(query, "from"); e != nil {
		return req, e
	}
	return history.Parse(q)
}

// lookupPlace is a place in the query. An empty one is a client's mistake, and
// not the same as none.
func lookupPlace(query, name string) (string, *codes.Error) {
	text, given, e := read.Lookup(query, name)
	if e == nil && given && text == "" {
		e = codes.Newf(codes.BadCursor, "%s: it is empty", name)
	}
	return text, e
}

// presence serves GET /rooms/{room}/presence.
func (s *Server) presence(c *gin.Context) {
	room, ok := s.room(c)
	if !ok {
		return
	}
	limit, e := read.LookupNumber(c.Request.URL.RawQuery, "limit", 100, 0, 1000)
	if e != nil {
		e.WriteHTTP(c.Writer)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.o.ReadTimeout)
	defer cancel()
	p, err := s.hub.Present(ctx, room, limit)
	if err != nil {
		s.fail(c, err)
		return
	}
	sc := s.takeScratch()
	defer s.giveScratch(sc)
	sc.answer = append(sc.answer[:0], "{"+codes.Mark+`"room":"`...)
	sc.answer = append(sc.answer, room...)
	sc.answer = append(sc.answer, `","members":[`...)
	for i := range p.Members {
		if i > 0 {
			sc.answer = append(sc.answer, ',')
		}
		sc.answer = wire.AppendMember(sc.answer, &p.Members[i])
	}
	sc.answer = append(sc.answer, `],"count":`...)
	sc.answer = strconv.AppendInt(sc.answer, int64(p.Count), 10)
	sc.answer = append(sc.answer, '}', '\n')
	writeJSON(c.Writer, http.StatusOK, sc.answer)
}

// roomStats serves GET /rooms/{room}/stats.
func (s *Server) roomStats(c *gin.Context) {
	room, ok := s.room(c)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.o.ReadTimeout)
	defer cancel()
	st, err := s.hub.RoomStats(ctx, room)
	if err != nil {
		s.fail(c, err)
		return
	}
	var messages uint64
	if st.Head.Offset > st.Floor.Offset {
		messages = st.Head.Offset - st.Floor.Offset
	}
	s.marshal(c, struct {
		Room        string         `json:"room"`
		Subscribers map[string]int `json:"subscribers"`
		Head        string         `json:"head"`
		Floor       string         `json:"floor"`
		Messages    uint64         `json:"messages"`
		LogMessages int            `json:"log_messages"`
		LogBytes    int            `json:"log_bytes"`
	}{st.Room, everyTransport(st.Subscribers), st.Head.String(), st.Floor.String(), messages, st.LogMessages, st.LogBytes})
}

// stats serves GET /stats.
func (s *Server) stats(c *gin.Context) {
	st := s.hub.Stats()
	s.marshal(c, struct {
		Node           string         `json:"node"`
		Subscribers    map[string]int `json:"subscribers"`
		Rooms          int            `json:"rooms"`
		HeldBytes      int64          `json:"held_bytes"`
		Published      int64          `json:"published"`
		Duplicates     int64          `json:"duplicates"`
		Refused        int64          `json:"refused"`
		Delivered      int64          `json:"delivered"`
		CaughtUp       int64          `json:"caught_up"`
		Gaps           int64          `json:"gaps"`
		Slow           int64          `json:"slow"`
		Writers        int64          `json:"writers"`
		Fills          int64          `json:"fills"`
		PresenceFailed int64          `json:"presence_failed"`
	}{
		s.hub.NodeID(), everyTransport(st.Subscribers), st.Rooms, st.HeldBytes, st.Published, st.Duplicates, st.Refused,
		st.Delivered, st.CaughtUp, st.Gaps, st.Slow, st.Writers, st.Fills, st.PresenceFailed,
	})
}

// everyTransport shows transports without a subscriber too, so that a reader
// of figures need not guess their names.
func everyTransport(m map[string]int) map[string]int {
	all := map[string]int{"ws": 0, "sse": 0, "ndjson": 0, "poll": 0}
	for name, n := range m {
		all[name] = n
	}
	return all
}

func (s *Server) marshal(c *gin.Context, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.fail(c, err)
		return
	}
	writeJSON(c.Writer, http.StatusOK, append(body, '\n'))
}

// healthz says that the process lives.
func (s *Server) healthz(c *gin.Context) {
	writeJSON(c.Writer, http.StatusOK, []byte("{\"status\":\"ok\"}\n"))
}

// readyz says whether this node should get traffic.
func (s *Server) readyz(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.o.ReadyTimeout)
	defer cancel()
	err := s.hub.Ready(ctx)
	if err == nil {
		writeJSON(c.Writer, http.StatusOK, []byte("{\"status\":\"ready\"}\n"))
		return
	}
	e := codes.From(err)
	if e.HTTPStatus() < http.StatusInternalServerError {
		e = codes.New(codes.StoreUnavailable, "the store did not answer in time")
	}
	s.faults.note(c.Request.Method, c.Request.URL.Path, e, err)
	e.WriteHTTP(c.Writer)
}
