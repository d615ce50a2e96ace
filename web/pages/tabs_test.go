package pages_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/transport/middlebox"
)

// TestTabs: two tabs of one browser, which share their storage and connections,
// read one room. Each has every message once and in order, what happens to one
// does not harm the other, and what was learned of the network serves both.
func TestTabs(t *testing.T) {
	needtest.Time(t, "it starts a browser")
	server := start(t)
	box, err := middlebox.Start(middlebox.Config{Upstream: strings.TrimPrefix(server.URL, "http://"), Options: middlebox.Options{
		Upgrade: middlebox.UpgradeRefuse, Hold: middlebox.HoldBody, Held: middlebox.GETEventStreams,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	b := startBrowser(t)
	ann := b.open(t, box.URL()+"/#lobby", desktop, nil)
	bob := b.open(t, box.URL()+"/#lobby", desktop, ann)
	tabs := []*tab{ann, bob}
	for _, x := range tabs {
		x.until(connectedOver("SSE"))
		x.until(`document.querySelectorAll("#here li").length == 2`)
		x.until(`Object.values(localStorage).some((text) => text.includes('"bad sse0":[1,'))`)
	}

	n := 0
	exchange := func(from ...*tab) {
		t.Helper()
		for range 10 {
			for _, x := range from {
				n++
				x.say(fmt.Sprintf("message %d", n))
			}
			n++
			publish(t, server, "lobby", fmt.Sprintf(`"message %d"`, n))
		}
	}
	whole := func(x *tab) {
		t.Helper()
		x.until(fmt.Sprintf(`document.querySelectorAll("#messages .offset").length >= %d`, n))
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i+1))
		}
		if got := x.order(); got != strings.Join(want, " ") {
			t.Errorf("shown are %s, want 1 to %d", got, n)
		}
		// Each text once: what a tab publishes comes by its own offset.
		x.do(fmt.Sprintf(`(() => { for (let i = 1; i <= %d; i++) {
			const times = Array.from(document.querySelectorAll("#messages li"), (e) => e.innerText.split(/\s+/).join(" ") + " ").filter((text) => text.includes("message " + i + " ")).length;
			if (times != 1) throw new Error("message " + i + ": " + times);
		} })()`, n))
	}
	exchange(ann, bob)
	for _, x := range tabs {
		whole(x)
	}

	// One loses its network: the other goes on, and the first catches up.
	network := func(offline bool) {
		t.Helper()
		if err := b.call(bob.session, "Network.emulateNetworkConditions", map[string]any{"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	network(true)
	bob.do(`document.querySelector("#cut").click()`)
	bob.until(`!(` + connected + `)`)
	exchange(ann)
	whole(ann)
	network(false)
	whole(bob)
	bob.until(connectedOver("SSE"))

	// One is closed: the other stays as it was.
	log := ann.text("#log")
	if err := b.call(bob.session, "Page.close", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	exchange(ann)
	whole(ann)
	if now := ann.text("#log"); now != log {
		t.Errorf("the connection of the tab that stayed changed:\n%s\nbefore:\n%s", now, log)
	}

	// A third one begins with the form of stream that the others found.
	carol := b.open(t, box.URL()+"/#lobby", desktop, ann)
	carol.until(connectedOver("SSE"))
	carol.mu.Lock()
	defer carol.mu.Unlock()
	if slices.ContainsFunc(carol.requests, func(u string) bool { return strings.Contains(u, "/sse?") && strings.Contains(u, "probe=") }) {
		t.Errorf("it tried a stream by GET again: %q", carol.requests)
	}
}
