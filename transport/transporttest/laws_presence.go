package transporttest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/culvertd/culvert/hub"
)

// presenceLaws: who is here is the same for all transports.
func presenceLaws() []law {
	quick := Setup{Hub: hub.Options{PresenceGrace: time.Second, PollGrace: time.Second, PresenceTTL: 3 * time.Second}}
	return []law{
		{name: "joining and leaving are seen", setup: quick, check: func(e *env, transport string) {
			watcher := e.open(NDJSON, "lobby", "client=watcher", "presence=1")
			if ev := watcher.next("presence"); ev.Event != "join" || ev.Client != "watcher" || ev.Count != 1 {
				e.Errorf("got %+v", ev)
			}
			r := e.open(transport, "lobby", "client=it")
			if ev := watcher.next("presence"); ev.Event != "join" || ev.Client != "it" || ev.Count != 2 || ev.Room != "lobby" || ev.Time == 0 {
				e.Errorf("got %+v", ev)
			}
			// A second connection of the same client is no second client.
			twin := e.open(SSE, "lobby", "client=it")
			if got := e.present("lobby"); got != "[it watcher] 2" && got != "[watcher it] 2" {
				e.Errorf("present are %s", got)
			}
			r.close()
			twin.close()
			if ev := watcher.next("presence"); ev.Event != "leave" || ev.Client != "it" || ev.Count != 1 {
				e.Errorf("got %+v", ev)
			}
			if got := e.present("lobby"); got != "[watcher] 1" {
				e.Errorf("present are %s", got)
			}
		}},
		{name: "presence is told to who asked for it", setup: quick, check: func(e *env, transport string) {
			asked := e.open(transport, "lobby", "presence=1")
			silent := e.open(transport, "lobby")
			e.open(WS, "lobby", "client=other")
			for {
				if ev := asked.next("presence"); ev.Client == "other" && ev.Event == "join" {
					break
				}
			}
			e.publish("lobby", `1`)
			silent.offsets("lobby", 1, 1)
		}},
	}
}

// present lists who is in a room, as HTTP tells it.
func (e *env) present(room string) string {
	e.Helper()
	var body struct {
		Members []struct{ Client string }
		Count   int
	}
	a := e.do("GET", "/rooms/"+room+"/presence", "")
	if err := json.Unmarshal(a.body, &body); err != nil || a.status != 200 {
		e.Fatalf("%d %s", a.status, a.body)
	}
	var clients []string
	for _, m := range body.Members {
		clients = append(clients, m.Client)
	}
	return fmt.Sprintf("%v %d", clients, body.Count)
}
