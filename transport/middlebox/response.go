package middlebox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// send passes the server's answer on, as late and as changed as the options say.
func (x *exchange) send(response *http.Response, mine *flight, s *sender) bool {
	o, r := x.options, x.request
	header := response.Header.Clone()
	for _, name := range hopHeaders {
		header.Del(name)
	}
	for _, name := range o.StripResponse {
		header.Del(name)
	}
	bodyless := r.Method == http.MethodHead || response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified
	held := (o.Held == nil || o.Held(r, header)) && !bodyless
	compress := held && o.GzipHold && containsToken(r.Header.Get("Accept-Encoding"), "gzip")

	length := response.ContentLength
	if compress {
		header.Del("Content-Length")
		header.Set("Content-Encoding", "gzip")
		length = -1
	}
	chunked := length < 0 && !bodyless && !o.HTTP10 && r.ProtoAtLeast(1, 1)
	keep := !o.HTTP10 && r.ProtoAtLeast(1, 1) && !r.Close && (length >= 0 || chunked || bodyless)

	body := io.WriteCloser(s)
	if chunked {
		body = &chunks{out: s}
	}
	if held {
		body = x.hold(body)
	}
	if compress {
		body = &squeeze{Writer: gzip.NewWriter(body), under: body}
	}
	head := x.answerHead(response.StatusCode, header, length, chunked, keep)
	if held && (o.Hold == HoldResponse || o.HoldFirst > 0) {
		s.prefix(head)
	} else if _, err := s.Write(head); err != nil {
		mine.fail(x.box)
		s.abandon()
		_ = body.Close()
		return false
	}
	var err error
	if !bodyless {
		var source io.Reader = response.Body
		if mine != nil {
			source = io.TeeReader(source, mine)
		}
		_, err = copySmall(body, source)
	}
	mine.land(x.box, response.StatusCode, header, err)
	// A body that broke off is not ended politely.
	if err != nil {
		s.abandon()
		_ = body.Close()
		x.link.close()
		return false
	}
	if body.Close() != nil {
		return false
	}
	if !keep {
		x.link.close()
	}
	return keep
}

// answerHead is the head of an answer.
func (x *exchange) answerHead(status int, header http.Header, length int64, chunked, keep bool) []byte {
	header = header.Clone()
	version := "HTTP/1.1"
	if x.options.HTTP10 {
		version = "HTTP/1.0"
	}
	if chunked {
		header.Del("Content-Length")
		header.Set("Transfer-Encoding", "chunked")
	} else if length >= 0 {
		header.Set("Content-Length", fmt.Sprint(length))
	}
	if !keep {
		header.Set("Connection", "close")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d %s\r\n", version, status, http.StatusText(status))
	_ = header.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes()
}

// sendStored sends an answer that is there whole.
func (x *exchange) sendStored(a *stored) bool {
	keep := !x.options.HTTP10 && x.request.ProtoAtLeast(1, 1) && !x.request.Close && a.header.Get("Connection") != "close"
	header := a.header.Clone()
	if !a.bare {
		header.Set("Age", "1")
	}
	out := x.toClient()
	_, err := out.Write(x.answerHead(a.status, header, int64(len(a.body)), false, keep))
	if err == nil && x.request.Method != http.MethodHead {
		_, err = out.Write(a.body)
	}
	if out.Close() != nil || err != nil {
		return false
	}
	if !keep {
		x.link.close()
	}
	return keep
}

// copySmall copies, and passes each read on at once.
func copySmall(to io.Writer, from io.Reader) (int64, error) {
	var total int64
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, failed := to.Write(buffer[:n]); failed != nil {
				return total, failed
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// sender makes the last stage of the response, and ends it at its cap. stop is
// called when the exchange is over.
func (x *exchange) sender() (s *sender, stop func()) {
	s = &sender{out: x.toClient()}
	if x.options.CapResponse == 0 {
		return s, func() {}
	}
	t := time.AfterFunc(x.options.CapResponse, func() {
		if s.expire() {
			_, _ = io.WriteString(x.link.client, "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		}
		x.link.close()
	})
	return s, func() { t.Stop() }
}

// sender is the last stage of a response before the connection: it can put the
// head in front of the first bytes, and knows whether it sent anything.
type sender struct {
	out io.WriteCloser

	mu      sync.Mutex
	first   []byte // guarded by mu; not sent yet
	sent    bool   // guarded by mu
	expired bool   // guarded by mu
	broken  bool   // guarded by mu
}

func (s *sender) prefix(head []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = head
}

func (s *sender) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.expired || s.broken {
		s.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	head := s.first
	s.first, s.sent = nil, true
	s.mu.Unlock()
	if head != nil {
		p = append(head, p...)
	}
	n, err := s.out.Write(p)
	return max(n-len(head), 0), err
}

func (s *sender) Close() error {
	s.mu.Lock()
	pending := s.first != nil && !s.expired && !s.broken
	s.mu.Unlock()
	var err error
	if pending {
		_, err = s.Write(nil)
	}
	if closed := s.out.Close(); err == nil {
		err = closed
	}
	return err
}

// expire ends the response; true: nothing of it was sent.
func (s *sender) expire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = true
	return !s.sent
}

// abandon makes everything that is still written vanish.
func (s *sender) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// chunks is the chunked coding, one chunk a write.
type chunks struct{ out io.WriteCloser }

func (c *chunks) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var b bytes.Buffer
	w := httputil.NewChunkedWriter(&b)
	_, _ = w.Write(p)
	if _, err := c.out.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *chunks) Close() error {
	_, err := io.WriteString(c.out, "0\r\n\r\n")
	if closed := c.out.Close(); err == nil {
		err = closed
	}
	return err
}

// squeeze compresses and never flushes.
type squeeze struct {
	*gzip.Writer
	under io.Closer
}

func (s *squeeze) Close() error {
	err := s.Writer.Close()
	if closed := s.under.Close(); err == nil {
		err = closed
	}
	return err
}
