package transport

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/store/memory"
)

// discard is a ResponseWriter that keeps nothing but the status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

// BenchmarkPublishHTTP is one publish from the request to the answer, without
// sockets, into the memory store.
func BenchmarkPublishHTTP(b *testing.B) {
	body := `{"text":"` + strings.Repeat("x", 100) + `"}`
	for _, keyed := range []bool{false, true} {
		b.Run(fmt.Sprintf("key=%v", keyed), func(b *testing.B) {
			s := newServiceOn(b, Options{}, memory.Options{MaxKeys: 1 << 30, MaxKeyBytes: 1 << 40})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				reader := strings.NewReader(body)
				r := httptest.NewRequest("POST", "/rooms/lobby", reader)
				r.Header.Set("Content-Type", "application/json")
				w := &discard{header: make(http.Header)}
				for n := 0; pb.Next(); n++ {
					reader.Reset(body)
					r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
					if keyed {
						r.Header["Idempotency-Key"] = []string{fmt.Sprintf("%p-%d", r, n)}
					}
					clear(w.header)
					s.ServeHTTP(w, r)
					if w.status != http.StatusCreated {
						b.Errorf("status %d", w.status)
						return
					}
				}
			})
		})
	}
}

// BenchmarkPublishBatchHTTP is the same for a batch of 100, as an array and as
// lines, into one room and into as many as there are messages.
func BenchmarkPublishBatchHTTP(b *testing.B) {
	for _, form := range []string{"array", "lines"} {
		for _, rooms := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/rooms=%d", form, rooms), func(b *testing.B) {
				items := make([]string, 100)
				for i := range items {
					items[i] = fmt.Sprintf(`{"room":"lobby-%d","data":{"text":"%s"}}`, i%rooms, strings.Repeat("x", 100))
				}
				body, kind := "["+strings.Join(items, ",")+"]", "application/json"
				if form == "lines" {
					body, kind = strings.Join(items, "\n"), "application/x-ndjson"
				}
				s := newService(b, Options{})
				r := httptest.NewRequest("POST", "/publish", nil)
				r.Header.Set("Content-Type", kind)
				reader := strings.NewReader(body)
				w := &discard{header: make(http.Header)}
				b.ReportAllocs()
				for b.Loop() {
					reader.Reset(body)
					r.Body, r.ContentLength = io.NopCloser(reader), int64(len(body))
					clear(w.header)
					s.ServeHTTP(w, r)
					if w.status != http.StatusOK {
						b.Fatalf("status %d", w.status)
					}
				}
				b.ReportMetric(float64(b.Elapsed())/float64(time.Microsecond)/float64(b.N)/100, "µs/message")
			})
		}
	}
}

// BenchmarkPollHTTP is one poll that finds messages in the log of the room.
func BenchmarkPollHTTP(b *testing.B) {
	for _, n := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			s := newService(b, Options{})
			cursor := s.poll("/rooms/lobby?wait=0").Cursor
			for range n {
				s.decode(s.do("POST", "/rooms/lobby", strings.Repeat("x", 100)), 201)
			}
			r := httptest.NewRequest("GET", "/rooms/lobby?wait=0&cursor="+cursor, nil)
			w := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				s.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}
