package redis

import (
	"strconv"
	"sync/atomic"
	"time"
)

// clock estimates the time of Redis, from what its answers say.
type clock struct{ ahead atomic.Int64 } // ms

// observe takes the time, in Unix milliseconds, of an answer that came now.
func (c *clock) observe(text string) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if d := n - time.Now().UnixMilli(); d != c.ahead.Load() {
			c.ahead.Store(d)
		}
	}
}

// now is the time of Redis in Unix milliseconds, as far as is known.
func (c *clock) now() int64 { return time.Now().UnixMilli() + c.ahead.Load() }
