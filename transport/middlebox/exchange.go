package middlebox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxRequestBody is what the box keeps of a request, which it reads whole.
const maxRequestBody = 8 << 20

// exchange is one request and what becomes of it.
type exchange struct {
	// Set once.
	box     *Box
	link    *link
	reader  *bufio.Reader // the client's side
	request *http.Request
	options *Options
	target  string // path and query, as the client wrote them
	address string // the server's
	body    []byte

	reused bool // the connection has carried a request before

	// The client's side is watched while the server answers, so that a client
	// that leaves is noticed. The watch has ended when watched is closed; until
	// then reader is its own.
	watched chan struct{}
}

// run answers the request and tells whether the connection may carry another.
func (x *exchange) run() bool {
	r := x.request
	x.box.count(func(s *Stats) {
		s.Requests++
		if upgrades(r) {
			s.Upgrades++
		}
	})
	if !x.resolve() {
		return false
	}
	if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		if _, err := io.WriteString(x.link.client, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return false
		}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBody+1))
	if err != nil {
		return false
	}
	x.body = body
	if r.Method == http.MethodConnect {
		return x.connect()
	}
	if status, header, text := x.refusal(); status != 0 {
		x.box.count(func(s *Stats) { s.Refused++ })
		return x.answer(status, header, text)
	}
	if upgrades(r) {
		if !x.upgrade() {
			return false
		}
		if x.options.Upgrade != UpgradeStrip {
			return x.tunnelUpgrade()
		}
	}
	x.watch()
	keep := x.serve()
	<-x.watched
	return keep
}

// resolve finds out where the request is meant to go.
func (x *exchange) resolve() bool {
	x.target, x.address = x.request.RequestURI, x.box.upstream
	if x.request.Method == http.MethodConnect {
		if x.box.forward {
			x.address = x.request.RequestURI
		}
		return true
	}
	if u, err := url.Parse(x.target); err == nil && u.IsAbs() {
		x.target = u.RequestURI()
		if x.box.forward {
			x.address = u.Host
			if u.Port() == "" {
				x.address = net.JoinHostPort(u.Hostname(), "80")
			}
		}
	}
	return x.address != ""
}

// refusal is the answer that the box gives itself; status 0: none.
func (x *exchange) refusal() (int, http.Header, string) {
	o := x.options
	switch {
	case o.MaxURL > 0 && len(x.target) > o.MaxURL:
		return http.StatusRequestURITooLong, nil, "request target too long\n"
	case o.Methods != nil && !slices.Contains(o.Methods, x.request.Method):
		return http.StatusForbidden, nil, "method not allowed here\n"
	case len(x.body) > maxRequestBody, o.MaxBody > 0 && len(x.body) > o.MaxBody:
		return http.StatusRequestEntityTooLarge, nil, "body too large\n"
	case o.Answer != nil && x.box.answers(o.Answer):
		return o.Answer.Status, o.Answer.Header, o.Answer.Body
	}
	return 0, nil, ""
}

func (b *Box) answers(a *Answer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answered++
	if a.First > 0 && b.answered > a.First {
		return false
	}
	return a.Share == 0 || b.random.Float64() < a.Share
}

// upgrade applies what may happen to an upgrade; false: the connection is over.
func (x *exchange) upgrade() bool {
	switch x.options.Upgrade {
	case UpgradeRefuse:
		x.box.count(func(s *Stats) { s.Refused++ })
		status := x.options.UpgradeStatus
		if status == 0 {
			status = http.StatusForbidden
		}
		x.answer(status, http.Header{"Connection": {"close"}}, "upgrade refused\n")
		return false
	case UpgradeReset:
		x.box.count(func(s *Stats) { s.Refused++ })
		x.link.reset()
		return false
	case UpgradeSwallow:
		// The client's own end ends it.
		_, _ = io.Copy(io.Discard, x.reader)
		return false
	}
	return true
}

// watch starts watching the client's side. A client that leaves takes the
// request's upstream connections with it.
func (x *exchange) watch() {
	x.watched = make(chan struct{})
	x.box.wg.Go(func() {
		defer close(x.watched)
		if _, err := x.reader.Peek(1); err != nil {
			x.link.close()
		}
	})
}

// serve fetches the answer, or finds it, and sends it.
func (x *exchange) serve() bool {
	o, r := x.options, x.request
	if o.Repeat == RepeatAll || o.Repeat == RepeatPOST && r.Method == http.MethodPost {
		x.box.count(func(s *Stats) { s.Repeated++ })
		x.box.wg.Go(x.repeat)
	}
	if !x.link.sleep(o.Delay + x.box.jitter(o.Jitter)) {
		return false
	}
	if !x.pace(len(x.body)) {
		return false
	}
	shared, mine := x.share()
	if shared != nil {
		return x.sendStored(shared)
	}
	out, stop := x.sender()
	defer stop()
	response, upstream, err := x.fetch()
	if err != nil {
		_ = out.Close()
		mine.fail(x.box)
		return x.answer(http.StatusBadGateway, nil, "no answer from the server\n")
	}
	defer x.link.drop(upstream)
	dropped := o.DropReused && x.reused
	if dropped {
		x.box.count(func(s *Stats) { s.Lost++ })
	}
	if dropped || x.lose(response) {
		_ = out.Close()
		mine.fail(x.box)
		if o.LossStatus != 0 && !dropped {
			return x.answer(o.LossStatus, nil, "the answer was lost\n")
		}
		x.link.close()
		return false
	}
	return x.send(response, mine, out)
}

// pace is the time that n bytes take towards the server.
func (x *exchange) pace(n int) bool {
	if x.options.BytesPerSecond == 0 {
		return true
	}
	return x.link.sleep(time.Duration(n) * time.Second / time.Duration(x.options.BytesPerSecond))
}

// fetch sends the request on and reads the head of the answer.
func (x *exchange) fetch() (*http.Response, net.Conn, error) {
	upstream, err := x.link.dial(x.address)
	if err != nil {
		return nil, nil, err
	}
	if _, err = upstream.Write(x.head(false)); err == nil {
		x.box.count(func(s *Stats) { s.Forwarded++ })
		var response *http.Response
		if response, err = http.ReadResponse(bufio.NewReader(upstream), x.request); err == nil {
			return response, upstream, nil
		}
	}
	x.link.drop(upstream)
	return nil, nil, err
}

// afterwards is how long a repeat may go on after its client has left.
const afterwards = 2 * time.Second

// repeat delivers the request a second time and throws the answer away. A
// client that has its answer, and leaves, does not take the repeat with it.
func (x *exchange) repeat() {
	upstream, err := x.box.dial(x.box.ctx, x.address)
	if err != nil {
		return
	}
	defer upstream.Close()
	defer context.AfterFunc(x.box.ctx, func() { _ = upstream.Close() })()
	defer context.AfterFunc(x.link.ctx, func() { _ = upstream.SetDeadline(time.Now().Add(afterwards)) })()
	if _, err := upstream.Write(x.head(upgrades(x.request) && x.options.Upgrade == UpgradePass)); err != nil {
		return
	}
	response, err := http.ReadResponse(bufio.NewReader(upstream), x.request)
	if err != nil || response.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
}

// hopHeaders concern one connection and are never sent on.
var hopHeaders = []string{"Connection", "Expect", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// head is the request, body included, as the server gets it.
func (x *exchange) head(upgrade bool) []byte {
	header := x.request.Header.Clone()
	protocol := header.Get("Upgrade")
	for _, name := range hopHeaders {
		header.Del(name)
	}
	for _, name := range x.options.Strip {
		header.Del(name)
	}
	version := "HTTP/1.1"
	switch {
	case upgrade:
		header.Set("Connection", "Upgrade")
		header.Set("Upgrade", protocol)
	case x.options.HTTP10:
		version = "HTTP/1.0"
		header.Set("Connection", "close")
	}
	if len(x.body) > 0 || x.request.Method == http.MethodPost || x.request.Method == http.MethodPut {
		header.Set("Content-Length", strconv.Itoa(len(x.body)))
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", x.request.Method, x.target, version, x.request.Host)
	_ = header.Write(&b)
	b.WriteString("\r\n")
	b.Write(x.body)
	return b.Bytes()
}

// lose decides whether the answer is lost; if so it is read whole first, so
// that the server has carried the request out.
func (x *exchange) lose(response *http.Response) bool {
	methods := x.options.LossMethods
	if methods == nil {
		methods = []string{http.MethodPost}
	}
	if x.options.Loss == 0 || !slices.Contains(methods, x.request.Method) || !x.box.chance(x.options.Loss) {
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxStored))
	x.box.count(func(s *Stats) { s.Lost++ })
	return true
}

// answer sends an answer of the box's own.
func (x *exchange) answer(status int, header http.Header, text string) bool {
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	return x.sendStored(&stored{status: status, header: header, body: []byte(text), bare: true})
}

// connect tunnels a CONNECT.
func (x *exchange) connect() bool {
	upstream, err := x.link.dial(x.address)
	if err != nil {
		return x.answer(http.StatusBadGateway, nil, "cannot connect\n")
	}
	defer x.link.drop(upstream)
	if _, err := io.WriteString(x.link.client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return false
	}
	x.box.count(func(s *Stats) { s.Tunnels++ })
	x.tunnel(bufio.NewReader(upstream), upstream)
	return false
}

// tunnelUpgrade sends an upgrade on and, if the server agrees, all that follows.
func (x *exchange) tunnelUpgrade() bool {
	if x.options.Repeat == RepeatAll {
		x.box.count(func(s *Stats) { s.Repeated++ })
		x.box.wg.Go(x.repeat)
	}
	if !x.link.sleep(x.options.Delay + x.box.jitter(x.options.Jitter)) {
		return false
	}
	upstream, err := x.link.dial(x.address)
	if err != nil {
		return x.answer(http.StatusBadGateway, nil, "no answer from the server\n")
	}
	defer x.link.drop(upstream)
	if _, err := upstream.Write(x.head(true)); err != nil {
		return false
	}
	x.box.count(func(s *Stats) { s.Forwarded++ })
	reader := bufio.NewReader(upstream)
	response, err := http.ReadResponse(reader, x.request)
	if err != nil {
		return x.answer(http.StatusBadGateway, nil, "no answer from the server\n")
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		x.watch()
		out, stop := x.sender()
		defer stop()
		keep := x.send(response, nil, out)
		<-x.watched
		return keep
	}
	for _, name := range x.options.StripResponse {
		response.Header.Del(name)
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = response.Header.Write(&head)
	head.WriteString("\r\n")
	out := x.toClient()
	_, err = out.Write(head.Bytes())
	if err = errors.Join(err, out.Close()); err != nil {
		return false
	}
	x.box.count(func(s *Stats) { s.Tunnels++ })
	x.tunnel(reader, upstream)
	return false
}
