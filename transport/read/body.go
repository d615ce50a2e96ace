package read

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/culvertd/culvert/transport/codes"
)

// Body reads a request's body into buf (from its start; it grows as needed),
// at most limit bytes. A longer one is tooLarge, without reading it to its end
// and, where its length is announced, without reading it at all.
func Body(r *http.Request, buf []byte, limit int, tooLarge codes.Code) ([]byte, *codes.Error) {
	if e := CheckEncoding(r); e != nil {
		return nil, e
	}
	over := func() *codes.Error {
		return codes.Newf(tooLarge, "the body is over %d bytes", limit)
	}
	if r.ContentLength > int64(limit) {
		return nil, over()
	}
	buf = buf[:0]
	if want := int(r.ContentLength) + 1; want > cap(buf) && r.ContentLength > 0 {
		buf = make([]byte, 0, want)
	}
	if r.Body == nil {
		return buf, nil
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Body.Read(buf[len(buf):min(cap(buf), limit+1)])
		buf = buf[:len(buf)+n]
		switch {
		case len(buf) > limit:
			return nil, over()
		case err == nil:
		case err == io.EOF:
			return buf, nil
		default:
			return nil, broken(err, over)
		}
	}
}

// broken tells why a body could not be read to its end.
func broken(err error, over func() *codes.Error) *codes.Error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return over()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return codes.New(codes.RequestTimeout, "the body did not arrive in time")
	}
	return codes.New(codes.BadBody, "the body ended early or its coding is broken")
}

// CheckEncoding refuses a compressed body: a small one could become large.
func CheckEncoding(r *http.Request) *codes.Error {
	for _, coding := range r.Header["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return codes.New(codes.UnsupportedEncoding, "the body is compressed")
		}
	}
	return nil
}

// addBody adds the parameters in the body of a POST.
func (p *params) addBody(r *http.Request, limit int) *codes.Error {
	body, e := Body(r, nil, limit, codes.BodyTooLarge)
	if e != nil || len(body) == 0 {
		return e
	}
	if !utf8.Valid(body) {
		return codes.New(codes.BadUTF8, "the body is not UTF-8")
	}
	switch MediaType(r.Header.Get("Content-Type")) {
	case "application/json":
		return p.addJSON(body)
	case "application/x-www-form-urlencoded", "text/plain", "":
		// Text that was typed or piped ends with a line break.
		return p.addForm(strings.TrimRight(string(body), "\r\n"))
	}
	return codes.New(codes.UnsupportedType, "the body is of an unknown type").
		WithAllowed("application/x-www-form-urlencoded, text/plain, application/json")
}

// MediaType is the type of a Content-Type or an element of Accept, in lower
// case and without parameters.
func MediaType(header string) string {
	mediaType, _, _ := strings.Cut(header, ";")
	return strings.ToLower(strings.TrimSpace(mediaType))
}
