package transporttest

import (
	"fmt"
	"strings"

	"github.com/culvertd/culvert/hub"
)

// gapLaws: what cannot be delivered is told.
func gapLaws() []law {
	small := Setup{HistoryMessages: 5, Hub: hub.Options{LogMessages: 2}}
	return []law{
		{name: "evicted messages are a gap", setup: small, check: func(e *env, transport string) {
			at := e.publish("lobby", `1`)
			e.publishMany("lobby", 2, 19)
			r := e.open(transport, "lobby", "cursor="+at)
			gap := r.next("gap")
			if gap.Reason != "evicted" || gap.Room != "lobby" || gap.From != "lobby="+at || gap.Missed != 14 || gap.Time == 0 {
				e.Errorf("got %+v", gap)
			}
			r.offsets("lobby", 16, 20)
			// The place after the gap is one like any other.
			again := e.open(transport, "lobby", "cursor="+gap.To)
			again.offsets("lobby", 16, 20)
			e.publish("lobby", `21`)
			r.offsets("lobby", 21, 21)
			again.offsets("lobby", 21, 21)
		}},
		{name: "the beginning of a room may be a gap", setup: small, check: func(e *env, transport string) {
			e.publishMany("lobby", 1, 7)
			r := e.open(transport, "lobby", "cursor=0")
			if gap := r.next("gap"); gap.Reason != "evicted" || gap.From != "lobby=0" || gap.Missed != 2 {
				e.Errorf("got %+v", gap)
			}
			r.offsets("lobby", 3, 7)
			// What is still there is asked for without one.
			oldest := e.open(transport, "lobby", "from=start")
			oldest.offsets("lobby", 3, 7)
		}},
		{name: "another epoch is a gap", check: func(e *env, transport string) {
			e.publishMany("lobby", 1, 3)
			at := "lobby=0000000000000000000000.9.abc"
			r := e.open(transport, "lobby", "cursor="+at)
			if gap := r.next("gap"); gap.Reason != "lost" || gap.From != at || gap.To != "lobby=0" || gap.Missed != 0 {
				e.Errorf("got %+v", gap)
			}
			r.offsets("lobby", 1, 3)
		}},
		{name: "a place past the end is a gap", check: func(e *env, transport string) {
			at := e.publish("lobby", `1`)
			epoch, _, _ := strings.Cut(at, ".")
			r := e.open(transport, "lobby", "cursor="+epoch+".7.abc")
			if gap := r.next("gap"); gap.Reason != "lost" || gap.To != "lobby="+at {
				e.Errorf("got %+v", gap)
			}
			e.publish("lobby", `2`)
			r.offsets("lobby", 2, 2)
		}},
		{name: "another message at the place is a gap", check: func(e *env, transport string) {
			var at [4]string
			for i := 1; i <= 3; i++ {
				at[i] = e.publish("lobby", fmt.Sprint(i))
			}
			forked := at[2][:strings.LastIndexByte(at[2], '.')] + ".otherid"
			r := e.open(transport, "lobby", "cursor="+forked)
			if gap := r.next("gap"); gap.Reason != "fork" || gap.From != "lobby="+forked || gap.To != "lobby="+at[2] {
				e.Errorf("got %+v", gap)
			}
			r.offsets("lobby", 3, 3)
		}},
	}
}
