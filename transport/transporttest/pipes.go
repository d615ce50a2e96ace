package transporttest

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Event is an envelope as a client sees it. Its fields are those of all types.
type Event struct {
	Type      string
	Room      string
	Offset    uint64
	Epoch, ID string
	Time      int64
	From, To  string
	Data      json.RawMessage
	Ephemeral bool
	Cursor    string
	Reason    string
	Missed    uint64
	Event     string
	Client    string
	Count     int
	Code      string
	Reconnect string
	Rooms     []string
	Protocol  int
	Heartbeat float64
	Ref       json.RawMessage
	OK        bool
	Error     refusal
	Results   []json.RawMessage
	Members   []json.RawMessage
	Messages  []json.RawMessage
	Fill      string

	sseID   string
	sseName string
}

func decode(text []byte) (ev Event, err error) {
	if err = json.Unmarshal(text, &ev); err != nil {
		err = fmt.Errorf("not an envelope: %.200q: %w", text, err)
	}
	return ev, err
}

// pipe is one connection over one transport.
type pipe interface {
	// next waits for the next envelope. io.EOF is a whole end.
	next() (Event, error)
	close()
}

// connect opens a pipe with the query of a read.
func (e *env) connect(transport, rooms string, query url.Values) (pipe, error) {
	path := "/rooms/" + rooms + "/" + map[string]string{WS: "ws", SSE: "sse", NDJSON: "stream", Poll: "poll"}[transport]
	if transport == Poll {
		return newPollPipe(e, path, query)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var headers []string
	if transport == WS {
		// The key is that of RFC 6455's example.
		headers = []string{
			"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
		}
		if e.deflate {
			headers = append(headers, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
		}
	}
	return e.send(transport, requestText("GET", path, headers, ""))
}

// send sends a request as it is and opens a pipe on the answer. It is not for
// polls.
func (e *env) send(transport, request string) (pipe, error) {
	nc, err := e.dialFor(transport)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(nc, request); err != nil {
		return nil, err
	}
	br := bufio.NewReader(nc)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		nc.Close()
		return nil, err
	}
	want := http.StatusOK
	if transport == WS {
		want = http.StatusSwitchingProtocols
	}
	if res.StatusCode != want {
		defer nc.Close()
		body, _ := io.ReadAll(res.Body)
		return nil, refused(answer{status: res.StatusCode, body: body})
	}
	switch transport {
	case WS:
		if accept := res.Header.Get("Sec-WebSocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			return nil, fmt.Errorf("accepted with %q", accept)
		}
		p := &wsPipe{nc: nc, br: br}
		if extensions := res.Header.Get("Sec-WebSocket-Extensions"); extensions != "" {
			if extensions != "permessage-deflate; server_no_context_takeover; client_no_context_takeover" {
				return nil, fmt.Errorf("agreed on %q", extensions)
			}
			p.deflate = true
		}
		return p, nil
	case SSE:
		return &ssePipe{nc: nc, br: bufio.NewReader(res.Body)}, nil
	default:
		return &linePipe{nc: nc, br: bufio.NewReader(res.Body)}, nil
	}
}

func refused(a answer) error {
	var body struct{ Error refusal }
	if err := json.Unmarshal(a.body, &body); err != nil || body.Error.Code == "" {
		return fmt.Errorf("%d with %.200q", a.status, a.body)
	}
	body.Error.status = a.status
	return &body.Error
}

// wsPipe reads frames as RFC 6455, section 5.2 draws them.
type wsPipe struct {
	nc net.Conn
	br *bufio.Reader
	// deflate: the server may compress, and texts are sent compressed.
	deflate bool
}

// closedError is a close frame.
type closedError struct {
	code   int
	reason string
}

func (c *closedError) Error() string { return fmt.Sprintf("closed: %d %s", c.code, c.reason) }

func (p *wsPipe) next() (Event, error) {
	for {
		p.nc.SetDeadline(time.Now().Add(patience))
		opcode, payload, err := p.frame()
		if err != nil {
			return Event{}, err
		}
		switch opcode {
		case 1:
			return decode(payload)
		case 8:
			c := &closedError{code: 1005}
			if len(payload) >= 2 {
				c.code, c.reason = int(binary.BigEndian.Uint16(payload)), string(payload[2:])
			}
			return Event{}, c
		case 9:
			if err := p.send(0x8a, payload); err != nil {
				return Event{}, err
			}
		case 10:
		default:
			return Event{}, fmt.Errorf("opcode %d", opcode)
		}
	}
}

func (p *wsPipe) frame() (opcode byte, payload []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(p.br, h[:2]); err != nil {
		return 0, nil, err
	}
	packed := p.deflate && h[0] == 0xc1
	if h[0]&0xf0 != 0x80 && !packed || h[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a server's frame begins with %x", h[:2])
	}
	opcode = h[0] & 0xf
	n := uint64(h[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(p.br, h[:2]); err != nil {
			return 0, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		if _, err := io.ReadFull(p.br, h[:8]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(h[:])
	}
	if n > 8<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	payload = make([]byte, n)
	if _, err = io.ReadFull(p.br, payload); err == nil && packed {
		payload, err = inflate(payload)
	}
	return opcode, payload, err
}

// inflate and deflate are RFC 7692, section 7.2, without context.
func inflate(p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
}

func deflate(p []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	w.Write(p)
	w.Flush()
	return b.Bytes()[:b.Len()-4]
}

// send sends a frame with the given first byte, masked with zeros. Where that
// is agreed on, a whole text goes compressed.
func (p *wsPipe) send(first byte, payload []byte) error {
	if p.deflate && first == 0x81 {
		first, payload = 0xc1, deflate(payload)
	}
	_, err := p.nc.Write(clientFrame(first, payload))
	return err
}

func clientFrame(first byte, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = append(f, 0x80|126)
		f = binary.BigEndian.AppendUint16(f, uint16(n))
	default:
		f = append(f, 0x80|127)
		f = binary.BigEndian.AppendUint64(f, uint64(n))
	}
	f = append(f, 0, 0, 0, 0)
	return append(f, payload...)
}

func (p *wsPipe) close() { p.nc.Close() }

// ssePipe parses an event stream by the rules of the HTML standard, as far as
// this server's streams use them.
type ssePipe struct {
	nc net.Conn
	br *bufio.Reader
}

func (p *ssePipe) next() (Event, error) {
	var name, id, data string
	any := false
	for {
		p.nc.SetDeadline(time.Now().Add(patience))
		line, err := p.br.ReadString('\n')
		if err != nil {
			if line != "" && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Event{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && any:
			ev, err := decode([]byte(data))
			ev.sseID, ev.sseName = id, name
			return ev, err
		case line == "":
			name = ""
		case field == "event":
			name = value
		case field == "id":
			id = value
		case field == "data":
			data, any = data+value, true
		case field == "" || field == "retry":
		default:
			return Event{}, fmt.Errorf("line %q", line)
		}
	}
}

func (p *ssePipe) close() { p.nc.Close() }

// linePipe reads one envelope a line.
type linePipe struct {
	nc net.Conn
	br *bufio.Reader
}

func (p *linePipe) next() (Event, error) {
	p.nc.SetDeadline(time.Now().Add(patience))
	line, err := p.br.ReadBytes('\n')
	if err != nil {
		if len(line) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Event{}, err
	}
	return decode(line)
}

func (p *linePipe) close() { p.nc.Close() }

// pollPipe asks again and again. What a stream greets with, its first answer
// tells: it asks for it without waiting.
type pollPipe struct {
	q      requester
	path   string
	query  url.Values
	queue  []Event
	nonce  int
	cursor string
	bye    *Event
}

func newPollPipe(e *env, path string, query url.Values) (*pollPipe, error) {
	p := &pollPipe{q: requester{env: e}, path: path, query: query}
	hello, err := p.ask("0")
	if err != nil {
		p.close()
		return nil, err
	}
	p.queue = append([]Event{{Type: "hello", Cursor: hello.Cursor, Protocol: hello.Protocol, Client: query.Get("client")}}, p.queue...)
	// What came with the first answer came after the greeting, whose cursor
	// is where reading began.
	if len(p.queue) > 1 {
		p.queue[0].Cursor = ""
	}
	return p, nil
}

// pollAnswer is the body of an answer.
type pollAnswer struct {
	Protocol int
	Messages []json.RawMessage
	Cursor   string
	Time     int64
	Bye      *Event
}

func (p *pollPipe) ask(wait string) (a pollAnswer, err error) {
	query := url.Values{"wait": {wait}, "n": {fmt.Sprint(p.nonce)}}
	for name, values := range p.query {
		query[name] = values
	}
	if wait == "0" {
		query.Set("wait", "0")
	}
	if p.cursor != "" {
		query.Set("cursor", p.cursor)
	}
	p.nonce++
	res, err := p.q.do("GET", p.path+"?"+query.Encode(), nil, "")
	if err != nil {
		return a, err
	}
	if res.status != http.StatusOK {
		return a, refused(res)
	}
	if res.header.Get("Content-Length") == "" || res.header.Get("Cache-Control") == "" {
		return a, fmt.Errorf("a poll was answered with %v", res.header)
	}
	if err := json.Unmarshal(res.body, &a); err != nil {
		return a, fmt.Errorf("%.200q: %w", res.body, err)
	}
	for _, text := range a.Messages {
		ev, err := decode(text)
		if err != nil {
			return a, err
		}
		p.queue = append(p.queue, ev)
	}
	p.cursor, p.bye = a.Cursor, a.Bye
	return a, nil
}

func (p *pollPipe) next() (Event, error) {
	for len(p.queue) == 0 {
		if p.bye != nil {
			bye := *p.bye
			bye.Type = "bye"
			return bye, nil
		}
		a, err := p.ask("20")
		if err != nil {
			return Event{}, err
		}
		if len(a.Messages) == 0 && a.Bye == nil {
			// An empty answer shows what a heartbeat does.
			return Event{Type: "heartbeat", Cursor: a.Cursor, Time: a.Time}, nil
		}
	}
	ev := p.queue[0]
	p.queue = p.queue[1:]
	return ev, nil
}

func (p *pollPipe) close() { p.q.close() }
