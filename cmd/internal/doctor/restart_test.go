package doctor

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
	"github.com/culvertd/culvert/transport/servertest"
)

// TestRestart: what a server took with it when it was started anew says nothing
// of the network, whichever test it fell into.
func TestRestart(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	for _, during := range []string{"large", "publish", "connections", "ws-handshake", "ws-frame", "ws-large", "stream-get", "methods", "bodies", "waiting"} {
		t.Run(during, func(t *testing.T) {
			t.Parallel()
			var r *Report
			for range 3 { // a busy machine can look like a bad network
				r = restarted(t, during)
				if len(r.Findings) == 2 && r.Has("restarted") && r.Has("clear") {
					break
				}
			}
			if len(r.Findings) != 2 || !r.Has("restarted") || !r.Has("clear") || !r.Works || r.Best != "websocket" {
				t.Errorf("works %v, best %q, %+v", r.Works, r.Best, r.Findings)
			}
			for _, s := range r.Steps {
				if s.State != Good && (s.ID != "waiting" || s.Result != onceMore) {
					t.Errorf("%s: %s, %s", s.ID, s.State, s.Result)
				}
			}
		})
	}
}

// restartable is a path to a server in whose place begin puts another one.
func restartable(t *testing.T) (box *middlebox.Box, begin func()) {
	var now atomic.Pointer[http.Handler]
	begin = func() {
		handler := serve(t).Config.Handler
		now.Store(&handler)
	}
	begin()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*now.Load()).ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	return startBox(t, front, middlebox.Options{}), begin
}

// restarted is what is said of a path on which nothing is wrong, but that the
// server is away for a second while one of the tests is made.
func restarted(t *testing.T, during string) *Report {
	t.Helper()
	box, begin := restartable(t)
	o := quick(box.URL())
	var once atomic.Bool
	back := make(chan struct{})
	o.Progress = func(s Step) {
		if s.ID != during || s.State != "" || once.Swap(true) {
			return
		}
		if err := box.Set(middlebox.Options{Answer: &middlebox.Answer{Status: http.StatusBadGateway}}); err != nil {
			t.Error(err)
		}
		box.Cut()
		go func() {
			defer close(back)
			time.Sleep(time.Second)
			begin()
			if err := box.Set(middlebox.Options{}); err != nil {
				t.Error(err)
			}
		}()
	}
	r := examine(t, o)
	if !once.Load() {
		t.Fatalf("there is no test %s", during)
	}
	<-back
	return r
}

// TestDrained: a server that goes says so, and others go on in its place which
// have been there for long.
func TestDrained(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	goes, stays := servertest.Start(t, servertest.Options{}), serve(t)
	var gone atomic.Bool
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			stays.Config.Handler.ServeHTTP(w, r)
		} else {
			goes.Config.Handler.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(front.Close)
	o := quick(front.URL)
	o.Progress = func(s Step) {
		if s.ID == "waiting" && s.State == "" {
			time.AfterFunc(time.Second, func() {
				gone.Store(true)
				_ = goes.Hub.Drain(t.Context(), 0)
			})
		}
	}
	r := examine(t, o)
	if !r.Has("restarted") || r.Has("ws_age") || r.Has("idle_cut") || r.Has("response_cap") || r.Best != "websocket" {
		t.Errorf("best %q, %+v", r.Best, r.Findings)
	}
}

// TestRestartsAgain: what cannot be judged is not.
func TestRestartsAgain(t *testing.T) {
	needtest.Time(t, "it takes seconds")
	t.Parallel()
	box, begin := restartable(t)
	o := quick(box.URL())
	end := make(chan struct{})
	o.Progress = func(s Step) {
		switch {
		case s.ID == "waiting" && s.State == "":
			go func() {
				defer close(end)
				for range 2 {
					time.Sleep(2 * time.Second)
					begin()
					box.Cut()
					time.Sleep(3 * time.Second)
				}
			}()
		case s.ID == "ws-busy":
			<-end
		}
	}
	r := examine(t, o)
	if !r.Works || !r.Has("restarted") || r.Has("ws_age") || r.Has("idle_cut") || r.Has("response_cap") {
		t.Errorf("works %v, %+v", r.Works, r.Findings)
	}
	i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.ID == "poll-long" })
	if i < 0 || r.Steps[i].State != Skipped || r.Steps[i].Result != notJudged {
		t.Errorf("%+v", r.Steps)
	}
}
