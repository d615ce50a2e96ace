package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// plain asks for what any network should pass, and stops everything where it
// does not.
func (d *doctor) plain(ctx context.Context) error {
	var failure error
	d.tell("plain", "Plain request", func() (State, string) {
		e, a, err := d.tryEcho(ctx, http.MethodGet, "", "")
		for waited := 0; err != nil && waited < 2 && retryAfter(a) > 0; waited++ {
			d.find("busy", "status", a.status)
			if !pause(ctx, min(retryAfter(a), d.o.Patience)) {
				break
			}
			e, a, err = d.tryEcho(ctx, http.MethodGet, "", "")
		}
		if err != nil {
			failure = errHopeless
			return Bad, d.hopeless(a)
		}
		d.rtt = a.took
		for range 4 {
			if _, a, err := d.tryEcho(ctx, http.MethodGet, "", ""); err == nil {
				d.rtt = min(d.rtt, a.took)
			}
		}
		d.report.From = e.Client
		for _, name := range []string{"via", "forwarded", "x-forwarded-for"} {
			if value, ok := e.Headers[name].(string); ok && d.report.Via == "" {
				d.report.Via = name + ": " + value
			}
		}
		result := fmt.Sprintf("%d ms there and back", d.rtt.Milliseconds())
		if e.Protocol != "HTTP/1.1" || a.proto == "HTTP/1.0" {
			result += ", " + e.Protocol
			if e.Protocol == "HTTP/1.0" || a.proto == "HTTP/1.0" {
				d.find("http10")
			}
		}
		d.responseHeaders(a)
		if d.rtt > slowTrip {
			d.find("slow", "ms", d.rtt.Milliseconds())
			return Note, result
		}
		return Good, result
	})
	if failure != nil {
		return failure
	}
	d.step(ctx, "large", "Answer of 64 KB", func() (State, string) {
		e, a, err := d.tryEcho(ctx, http.MethodGet, "?size=65536", "")
		switch {
		case err != nil || len(e.Fill) != 65536:
			// Slow, or cut?
			if a.err != nil && !broke(a.err) {
				a = d.ask(ctx, 4*d.o.Patience, http.MethodGet, d.once("/doctor/echo?size=65536"), "")
				if a.err == nil && len(a.body) > 65536 {
					break
				}
			}
			d.find("answers_cut")
			return Note, "does not arrive whole"
		}
		if took := a.took - d.rtt; took > slowAnswer {
			d.find("thin", "seconds", fmt.Sprintf("%.1f", took.Seconds()))
			return Note, fmt.Sprintf("%.1f s", took.Seconds())
		}
		return Good, fmt.Sprintf("%d ms", a.took.Milliseconds())
	})
	return nil
}

// Beyond these a person feels it.
const (
	slowTrip   = 400 * time.Millisecond
	slowAnswer = time.Second
)

func (d *doctor) responseHeaders(a answer) {
	var lost []string
	for _, name := range []string{"Cache-Control", "Content-Type", "Vary"} {
		if a.header.Get(name) == "" {
			lost = append(lost, name)
		}
	}
	if len(lost) > 0 {
		d.find("response_headers", "names", strings.Join(lost, ", "))
	}
}

// repeat finds what happens to requests that are alike, and to those that
// change something.
func (d *doctor) repeat(ctx context.Context) {
	d.step(ctx, "repeat", "The same request again", func() (State, string) {
		path := d.once("/doctor/echo")
		first, _ := readEcho(d.ask(ctx, d.o.Patience, http.MethodGet, path, ""), path)
		second, _ := readEcho(d.ask(ctx, d.o.Patience, http.MethodGet, path, ""), path)
		if first.ID != "" && first.ID == second.ID {
			d.find("cached")
			return Note, "answered with a kept answer"
		}
		switch d.atOnce(ctx) {
		case merged:
			d.find("merged")
			return Note, "two at a time are taken for one"
		case queued:
			d.find("queued")
			return Note, "two at a time wait for each other"
		}
		return Good, "each gets an answer of its own"
	})
	d.step(ctx, "publish", "Publishing by POST", func() (State, string) {
		const total = 10
		room := d.room(fmt.Sprintf("post%d", d.lives)) // what came of another try is not counted
		answers := map[int]answer{}
		var last answer
		for i := range total {
			last = d.publish(ctx, d.http, room, i)
			answers[i] = last
			if refusal(last) {
				break // nine more would be refused as well
			}
		}
		copies, ok := d.arrived(ctx, room)
		if again := d.stale(answers, copies); ok && len(again) > 0 {
			for _, i := range again {
				fresh := d.newClient()
				answers[i] = d.publish(ctx, fresh, room, i)
				fresh.CloseIdleConnections()
			}
			copies, ok = d.arrived(ctx, room)
		}
		if !ok {
			return Skipped, "what arrived cannot be read"
		}
		answered := map[int]bool{}
		for i, a := range answers {
			answered[i] = a.err == nil && a.status < 300
		}
		return d.judgePublishes(answered, copies, total, last)
	})
}

// publishPath begins the path of every publish.
const publishPath = "/rooms/doctor-post"

// publish sends a number as a message without a key, so that every copy that
// something makes of it is seen.
func (d *doctor) publish(ctx context.Context, by *http.Client, room string, i int) answer {
	return d.askBy(ctx, by, d.o.Patience, http.MethodPost, "/rooms/"+room+"?m="+strconv.Itoa(i), strconv.Itoa(i), "Content-Type", "text/plain")
}

// stale are the publishes that went into a kept connection at its end and did
// not arrive. A browser sends them again on another one; what it would do
// unseen is no fault of the network.
func (d *doctor) stale(answers map[int]answer, copies map[int]int) (all []int) {
	for i, a := range answers {
		if a.stale && copies[i] == 0 {
			all = append(all, i)
		}
	}
	return all
}

func (d *doctor) judgePublishes(answered map[int]bool, copies map[int]int, total int, last answer) (State, string) {
	all, lost, good := 0, 0, 0
	for i := range total {
		all += copies[i]
		if answered[i] {
			good++
		} else if copies[i] > 0 {
			lost++
		}
	}
	if all == 0 {
		d.canPost = false
		d.find("post_blocked")
		return Bad, last.words()
	}
	state, result := Good, fmt.Sprintf("%d of %d answered, each arrived once", good, total)
	if lost > 0 {
		d.find("answers_lost", "lost", lost, "total", total)
		state, result = Note, fmt.Sprintf("%d of %d answers were lost", lost, total)
	}
	if all > len(copies) {
		d.find("repeated", "copies", all, "total", len(copies))
		state, result = Note, fmt.Sprintf("%d arrived as %d", len(copies), all)
	}
	if missing := total - len(copies); missing > 0 {
		d.failed += missing
		state = Note
		result += fmt.Sprintf("; %d did not arrive", missing)
	}
	return state, result
}

// arrived counts the numbers that were published, each with its copies.
func (d *doctor) arrived(ctx context.Context, room string) (map[int]int, bool) {
	for range 3 {
		a := d.ask(ctx, d.o.Patience, http.MethodGet, d.once("/rooms/"+room+"/history?limit=100"), "")
		var page struct {
			Messages []struct{ Data int }
		}
		if a.err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
			d.failed++
			continue
		}
		copies := map[int]int{}
		for _, m := range page.Messages {
			copies[m.Data]++
		}
		return copies, true
	}
	return nil, false
}

// What becomes of two requests for one address at the same time.
type pair int

const (
	apart pair = iota
	merged
	queued
)

// atOnce makes two requests for one address, the second while the first one
// waits.
func (d *doctor) atOnce(ctx context.Context) pair {
	const wait = time.Second
	for try := range 2 {
		path := d.once(fmt.Sprintf("/doctor/echo?wait=%d", wait.Milliseconds()))
		var ids [2]string
		var took [2]time.Duration
		var both sync.WaitGroup
		for i := range ids {
			both.Go(func() {
				if pause(ctx, time.Duration(i)*300*time.Millisecond) {
					a := d.ask(ctx, d.o.Patience+wait, http.MethodGet, path, "")
					e, _ := readEcho(a, path)
					ids[i], took[i] = e.ID, a.took
				}
			})
		}
		both.Wait()
		switch {
		case ids[0] == "" || ids[1] == "":
			return apart
		case ids[0] == ids[1]:
			return merged
		case took[1]-took[0] < wait/2:
			return apart
		case try == 1: // once may be chance
			return queued
		}
	}
	return apart
}

// pause waits, and returns false where ctx ended first.
func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
