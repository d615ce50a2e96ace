package report

import (
	"math/bits"
	"time"
)

// subBits: each power of two is cut into 256, so that a value is known to 0.4 %,
// and two can be told apart that a bar of 5 % is between.
const subBits = 8

const subCount = 1 << subBits

// Histogram counts durations up to hours in buckets that grow with them. Its
// zero value is empty.
type Histogram struct {
	counts [(64 - subBits) * subCount]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// Record counts a duration; what is below zero counts as zero.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// bucket is exact below 256 ns.
func bucket(v uint64) int {
	if v < subCount {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - subCount
}

// upper is the largest value of a bucket.
func upper(i int) uint64 {
	if i < subCount {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return (uint64(i&(subCount-1)|subCount)+1)<<shift - 1
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile returns a duration that a part q of all do not exceed; 0 where there
// are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q*float64(h.total) + 0.5)
	rank = min(max(rank, 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank && n > 0 {
			return min(time.Duration(upper(i)), h.max)
		}
	}
	return 0
}

// Latency is what is reported of a histogram, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
	// Distribution has the parts between neighbouring bounds, four to each
	// doubling of the time.
	Distribution []Bar `json:"distribution,omitempty"`
}

// Bar is one part of a distribution: Count durations up to UpTo milliseconds
// and above that of the bar before.
type Bar struct {
	UpTo  float64 `json:"up_to_ms"`
	Count uint64  `json:"count"`
}

// barBits: a bar is this many buckets, a quarter of a power of two.
const barBits = subBits - 2

// Summary is what is reported of the histogram; nil where it is empty.
func (h *Histogram) Summary() *Latency {
	if h.total == 0 {
		return nil
	}
	l := &Latency{
		Count: h.total,
		Mean:  ms(h.sum) / float64(h.total),
		P50:   ms(h.Quantile(0.50)),
		P90:   ms(h.Quantile(0.90)),
		P99:   ms(h.Quantile(0.99)),
		Max:   ms(h.max),
	}
	for i := 0; i < len(h.counts); i += 1 << barBits {
		var n uint64
		for _, c := range h.counts[i : i+1<<barBits] {
			n += c
		}
		if n > 0 || len(l.Distribution) > 0 {
			l.Distribution = append(l.Distribution, Bar{UpTo: ms(time.Duration(upper(i + 1<<barBits - 1))), Count: n})
		}
	}
	for last := len(l.Distribution) - 1; l.Distribution[last].Count == 0; last-- {
		l.Distribution = l.Distribution[:last]
	}
	return l
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
