package parse_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/culvertd/culvert/cmd/internal/bench/parse"
)

func (r *record) Answer(h *parse.Head, body []byte) error {
	r.got = append(r.got, fmt.Sprintf("%d %s", h.Status, body))
	return nil
}

const answers = "HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello" +
	"HTTP/1.1 100 Continue\r\n\r\n" +
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" +
	"HTTP/1.1 204 No Content\r\n\r\n" +
	"HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"

func TestAnswers(t *testing.T) {
	for seed := range uint64(50) {
		var a parse.Answers
		var r record
		err := inPieces([]byte(answers), seed, func(p []byte) error { return a.Feed(p, &r) })
		if got := strings.Join(r.got, "|"); err != nil || got != "201 hello|200 abcde|204 |503 " {
			t.Fatal(got, err)
		}
	}
	for _, bad := range []string{"HTTP/1.1 200 OK\r\n\r\nendless", "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "nonsense\r\n\r\n"} {
		var a parse.Answers
		if err := a.Feed([]byte(bad), &record{}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// What net/http reads as a row of answers we read as the same.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(answers), uint64(1))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.0 404 x\r\nContent-Length: 1\r\n\r\nz"), uint64(2))
	f.Fuzz(func(t *testing.T, p []byte, seed uint64) {
		if bytes.Count(p, []byte("\n")) != bytes.Count(p, []byte("\r\n")) {
			return // it takes a line that ends with "\n" alone, we do not
		}
		var a parse.Answers
		var r record
		if err := inPieces(p, seed, func(p []byte) error { return a.Feed(p, &r) }); err != nil {
			return
		}
		from := bufio.NewReader(bytes.NewReader(p))
		for i := 0; i < len(r.got); {
			res, err := http.ReadResponse(from, nil)
			if err != nil {
				return // it validates, we do not
			}
			body, err := io.ReadAll(res.Body)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if res.StatusCode < 200 {
				continue
			}
			if want := fmt.Sprintf("%d %s", res.StatusCode, body); r.got[i] != want {
				t.Fatalf("%q: answer %d is %q, want %q", p, i, r.got[i], want)
			}
			i++
		}
	})
}
