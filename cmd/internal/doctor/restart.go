package doctor

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// What is said of tests that a server took with it.
const (
	notJudged = "not judged: the server was started again meanwhile"
	onceMore  = "the server was started again meanwhile: once more"
	wentAway  = "the server went out of reach"
)

// judge makes a test, and again if the server was started anew meanwhile: what
// that took with it says nothing of the network.
func (d *doctor) judge(ctx context.Context, test func() (State, string)) (State, string) {
	for again := false; ; again = true {
		before, findings, lives := d.conclusions, len(d.report.Findings), d.lives
		state, result := test()
		if state == Good {
			return state, result
		}
		d.look(ctx)
		if d.gone == "" && d.lives == lives {
			return state, result
		}
		d.conclusions, d.report.Findings = before, d.report.Findings[:findings]
		if d.gone != "" {
			return Bad, wentAway
		}
		d.find("restarted")
		if again {
			return Skipped, notJudged
		}
	}
}

// look asks, after something went wrong, whether the server is still there, and
// whether it is the one that it was. One that is being started anew is waited
// for.
func (d *doctor) look(ctx context.Context) {
	client := d.newClient() // a connection from before may be what was cut
	defer client.CloseIdleConnections()
	for until := time.Now().Add(3 * d.o.Patience); ; {
		path := d.once(echoPath)
		sent := time.Now()
		a := d.askBy(ctx, client, d.o.Patience, http.MethodGet, path, "")
		switch e, err := readEcho(a, path); {
		case ctx.Err() != nil:
			return
		case err == nil:
			// Several servers may answer in turn, so it is the age that counts.
			if e.Uptime != nil && sent.Add(-time.Duration(*e.Uptime)*time.Millisecond).After(d.since) {
				d.since = time.Now()
				d.lives++
			}
			return
		case time.Now().After(until):
			if retryAfter(a) == 0 && a.status != http.StatusTooManyRequests { // else it is there, and busy
				d.gone = a.words()
			}
			return
		}
		if !pause(ctx, time.Second/2) {
			return
		}
	}
}

// saysDraining reports whether an envelope, or the answer to a poll, says that
// the server is about to go.
func saysDraining(text []byte) bool {
	return bytes.Contains(text, []byte(`"type":"bye","code":"draining"`))
}
