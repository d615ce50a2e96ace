package transporttest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// answer is a whole answer to a plain request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// requester makes plain requests, one after the other, over a connection that
// it keeps.
type requester struct {
	env *env
	nc  net.Conn
	br  *bufio.Reader
}

// requestText is a request as a client sends it.
func requestText(method, path string, headers []string, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n", method, path)
	for _, h := range headers {
		b.WriteString(h)
		b.WriteString("\r\n")
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.WriteString(body)
	return b.String()
}

func (q *requester) do(method, path string, headers []string, body string) (answer, error) {
	kept := q.nc != nil
	a, err := q.try(method, path, headers, body)
	if err != nil && kept && a.status == 0 && method == "GET" {
		// The server may have closed the kept connection meanwhile.
		return q.try(method, path, headers, body)
	}
	return a, err
}

func (q *requester) try(method, path string, headers []string, body string) (a answer, err error) {
	if q.nc == nil {
		if q.nc, err = q.env.dial(); err != nil {
			return a, err
		}
		q.br = bufio.NewReader(q.nc)
	}
	defer func() {
		if err != nil {
			q.close()
		}
	}()
	q.nc.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(q.nc, requestText(method, path, headers, body)); err != nil {
		return a, err
	}
	res, err := http.ReadResponse(q.br, nil)
	if err != nil {
		return a, err
	}
	a.status, a.header = res.StatusCode, res.Header
	a.body, err = io.ReadAll(res.Body)
	if err == nil && res.ContentLength >= 0 && int64(len(a.body)) != res.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if res.Close {
		q.close()
	}
	a.body = bytes.TrimSpace(a.body)
	return a, err
}

func (q *requester) close() {
	if q.nc != nil {
		q.nc.Close()
		q.nc = nil
	}
}
