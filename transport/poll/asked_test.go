package poll

import (
	"reflect"
	"strings"
	"testing"

	"github.com/culvertd/culvert/transport/read"
)

// What is remembered of a request is what it would be parsed to, whatever else
// was asked before.
func TestAskedParsesAsPlain(t *testing.T) {
	const at = "cursor=lobby%3Dk3x9.42.q7f2"
	queries := []string{
		"", "n=1", "n=2", at, at + "&n=3", at + "&n=4&wait=20", at + "&wait=20&n=5", "n=6&" + at + "&wait=20", at + "&wait=21",
		at + "&client=me", at + "&client=you&n=7", "client=me&" + at, at + "&client=me&client=you",
		at + "&client=", at + "&client=a,b", at + "&client=" + strings.Repeat("x", 65), at + "&client", at + "&n",
		at + "&presence=1", at + "&format=bare", at + "&limit=0", at + "&foo=1", at + "&&n=1", "&" + at, at + "&", "=", "n=%zz", "wait=%zz",
		"cursor=nonsense", "cursor=a%3D0,b%3D0", "limit=" + strings.Repeat("0", maxQuestion) + "7",
	}
	h := New(nil, Options{})
	for range 2 {
		for _, rooms := range []string{"lobby", "a,b", "a,", strings.Repeat("r", 200)} {
			for _, query := range queries {
				want, ok := read.Plain(rooms, query, read.Limits{})
				got := h.plainQuestion(&plain{rooms: []byte(rooms), query: []byte(query)})
				if (got != nil) != ok || ok && (got.bare != want.Bare || !reflect.DeepEqual(got.req, h.request(want))) {
					t.Errorf("%s?%s: %+v, want %+v, %t", rooms, query, got, want, ok)
				}
			}
		}
	}
	// These are left to others, who are less strict.
	for _, query := range []string{at + "&client=%6de", at + "&client=you&client="} {
		if h.plainQuestion(&plain{rooms: []byte("lobby"), query: []byte(query)}) != nil {
			t.Errorf("%s is taken", query)
		}
	}
}

func TestAskedAllocatesOnce(t *testing.T) {
	h := New(nil, Options{})
	p := plain{rooms: []byte("lobby"), query: []byte("cursor=lobby%3Dk3x9.42.q7f2&wait=20&n=1234567")}
	if n := testing.AllocsPerRun(100, func() {
		if h.plainQuestion(&p) == nil {
			t.Error("not known")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
