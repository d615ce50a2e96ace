package parse

// BodySink gets the bytes of a body as they come.
type BodySink interface {
	// Body gets a part; p is valid during the call only.
	Body(p []byte) error
}

// Chunked undoes HTTP/1.1's chunked coding. Its zero value is at the beginning
// of a body.
type Chunked struct {
	state chunkState
	left  int64 // of the chunk's data
	line  int   // bytes of the line that is being read
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkSizeLF
	chunkData
	chunkCR
	chunkLF
	trailerStart
	trailerLine
	trailerLineLF
	trailerLF
	chunkDone
)

// maxChunkLine bounds a line between the chunks.
const maxChunkLine = 4 << 10

// Done tells whether the body is complete.
func (c *Chunked) Done() bool { return c.state == chunkDone }

// Feed reads p and returns how many of its bytes belong to the body: all of
// them, unless it ends before.
func (c *Chunked) Feed(p []byte, sink BodySink) (int, error) {
	for i := 0; i < len(p); {
		if c.state == chunkDone {
			return i, nil
		}
		if c.state == chunkData {
			n := min(c.left, int64(len(p)-i))
			c.left -= n
			if c.left == 0 {
				c.state = chunkCR
			}
			if err := sink.Body(p[i : i+int(n)]); err != nil {
				return i, err
			}
			i += int(n)
			continue
		}
		if err := c.step(p[i]); err != nil {
			return i, err
		}
		i++
	}
	return len(p), nil
}

// step takes one byte between the chunks' data.
func (c *Chunked) step(b byte) error {
	c.line++
	if c.line > maxChunkLine {
		return ErrChunk
	}
	switch c.state {
	case chunkSize:
		return c.size(b)
	case chunkExtension:
		if b == '\r' {
			c.state = chunkSizeLF
		} else if b == '\n' {
			return ErrChunk
		}
	case chunkSizeLF:
		if b != '\n' {
			return ErrChunk
		}
		c.line = 0
		if c.state = chunkData; c.left == 0 {
			c.state = trailerStart
		}
	case chunkCR:
		if b != '\r' {
			return ErrChunk
		}
		c.state = chunkLF
	case chunkLF:
		if b != '\n' {
			return ErrChunk
		}
		c.state, c.line = chunkSize, 0
	case trailerStart:
		if c.state = trailerLine; b == '\r' {
			c.state = trailerLF
		}
	case trailerLine:
		if b == '\r' {
			c.state = trailerLineLF
		}
	case trailerLineLF:
		if b != '\n' {
			return ErrChunk
		}
		c.state = trailerStart
	case trailerLF:
		if b != '\n' {
			return ErrChunk
		}
		c.state = chunkDone
	}
	return nil
}

// size takes a byte of a chunk's size. c.line counts it already.
func (c *Chunked) size(b byte) error {
	digit := int64(-1)
	switch {
	case b >= '0' && b <= '9':
		digit = int64(b - '0')
	case b >= 'a' && b <= 'f':
		digit = int64(b-'a') + 10
	case b >= 'A' && b <= 'F':
		digit = int64(b-'A') + 10
	case c.line == 1:
		return ErrChunk
	case b == '\r':
		c.state = chunkSizeLF
		return nil
	case b == ';' || b == ' ' || b == '\t':
		c.state = chunkExtension
		return nil
	default:
		return ErrChunk
	}
	if c.left > 1<<50 {
		return ErrChunk
	}
	c.left = c.left<<4 | digit
	return nil
}
