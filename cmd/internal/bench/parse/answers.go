package parse

// AnswerSink gets HTTP answers.
type AnswerSink interface {
	// Answer gets one answer with its whole body; both are valid during the
	// call only.
	Answer(h *Head, body []byte) error
}

// Answers reads the answers that come over a connection one after another.
// Interim answers (1xx) are skipped.
type Answers struct{ pending }

// Feed reads what has arrived.
func (a *Answers) Feed(p []byte, sink AnswerSink) error {
	buf := a.join(p)
	for {
		n, err := answer(buf, sink)
		if err != nil {
			return err
		}
		if n == 0 {
			return a.keep(buf)
		}
		buf = buf[n:]
	}
}

func answer(p []byte, sink AnswerSink) (int, error) {
	h, start, err := ReadHead(p)
	if start == 0 || err != nil {
		return 0, err
	}
	body := p[start:]
	switch {
	case h.Status < 200:
		return start, nil
	case h.Status == 204 || h.Status == 304:
		return start, sink.Answer(&h, nil)
	case h.Chunked:
		var c Chunked
		var whole collected
		n, err := c.Feed(body, &whole)
		if err != nil || !c.Done() {
			return 0, err
		}
		return start + n, sink.Answer(&h, whole)
	case h.Length < 0:
		return 0, ErrHead // it would last until the connection ends
	case h.Length > Limit:
		return 0, ErrTooLong
	case int64(len(body)) < h.Length:
		return 0, nil
	}
	return start + int(h.Length), sink.Answer(&h, body[:h.Length])
}

type collected []byte

func (c *collected) Body(p []byte) error {
	*c = append(*c, p...)
	return nil
}
