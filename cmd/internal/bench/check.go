package bench

import (
	"fmt"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/bench/usage"
	"github.com/culvertd/culvert/cmd/internal/settings"
)

// complete fills in what depends on other settings and refuses what does not go
// together.
func (o *options) complete() error {
	if o.url != "" {
		var err error
		if o.target, err = parseURL(o.url); err != nil {
			return err
		}
	}
	switch {
	case o.command != "" && strings.TrimSpace(o.command) == "":
		return settings.Errorf("--command names no program")
	case o.command != "" && o.url == "":
		return settings.Errorf("--command needs the --url at which the program will be reached")
	case o.url != "" && o.command == "" && o.serverCore >= 0:
		return settings.Errorf("--server-core is for a server that the bench starts")
	case o.url != "" && (o.profile != "" || o.heap != ""):
		return settings.Errorf("--profile and --heap-profile are for a server that the bench starts by itself")
	case o.url != "" && o.serveFlags != "":
		return settings.Errorf("--serve-flags is for a server that the bench starts by itself")
	case o.insecureTLS && o.target != nil && o.target.Scheme != "https":
		return settings.Errorf("--insecure-tls is for an https:// server")
	case o.compress && (o.transport != transportWS && o.transport != transportMixed):
		return settings.Errorf("--compress is for --transport ws or mixed: other transports are compressed by proxies, if at all")
	case o.url == "" && o.pid != 0:
		return settings.Errorf("--pid is for a server that runs already, at --url")
	case o.subscribers == 0 && o.until == untilDelivered && o.outstanding > 0:
		return settings.Errorf("without --subscribers nothing is delivered: --outstanding needs --until answered")
	case o.given.until.Given() && o.outstanding == 0:
		return settings.Errorf("%s is for --outstanding, and says when the next message may go out", o.given.until)
	case o.given.rate.Given() && o.rate == 0 && o.outstanding == 0:
		return settings.Errorf("--rate 0 publishes nothing; --duration 0 measures connections alone")
	case o.peer == peerNchan && (o.transport == transportNDJSON || o.transport == transportMixed || o.batch > 1 || o.keys || o.publish == publishWS):
		return settings.Errorf("of Nchan the bench knows ws, sse and poll, and plain publishes one at a time")
	case o.peer == peerNchan && (o.storm > 0 || o.churn > 0):
		return settings.Errorf("--storm and --churn need cursors, which Nchan's WebSocket has not")
	case o.batch > 1 && o.publish == publishWS:
		return settings.Errorf("--batch is for --publish http")
	case o.batch > 1 && (o.outstanding == 0 || o.rate > 0):
		return settings.Errorf("--batch needs --outstanding, in requests, and has no --rate")
	case o.spread && (o.batch < 2 || o.rooms < o.batch):
		return settings.Errorf("--spread needs a --batch, and as many --rooms at least")
	case o.storm > 0 && o.storm*o.rooms > 1_000_000:
		return settings.Errorf("--storm in %d rooms is more than a million messages", o.rooms)
	}
	if o.rate == 0 && o.outstanding == 0 {
		o.rate = usualRate
	}
	if o.publishers == 0 {
		if o.publishers = min(max(o.outstanding, 8), 64); o.publish == publishWS {
			o.publishers = 1
		}
	}
	if err := o.idle(); err != nil {
		return err
	}
	if err := o.checkDescriptors(usage.Files()); err != nil {
		return err
	}
	return o.checkFiles()
}

// spareDescriptors are for everything that is not a connection.
const spareDescriptors = 16

// checkDescriptors finds out before the run whether the system allows as many
// connections as it makes; 0 means that it has no bound.
func (o *options) checkDescriptors(allowed int) error {
	wanted := o.subscribers + o.sideRooms*o.sideSubs + o.publishers + spareDescriptors
	if o.sideRooms > 0 {
		wanted += sidePublishers
	}
	if allowed == 0 || wanted <= allowed {
		return nil
	}
	return settings.Errorf("the system allows this program %d open files, and the run needs %d: allow it more (ulimit -n), or let it have fewer --subscribers", allowed, wanted)
}

// idle refuses settings that nothing would come of in this run.
func (o *options) idle() error {
	for _, x := range []struct {
		flag string
		on   bool
	}{{"--stalled", o.stalled > 0}, {"--churn", o.churn > 0}, {"--profile", o.profile != ""}} {
		if x.on && o.duration == 0 && o.messages == 0 {
			return settings.Errorf("%s is for the measurement, of which --duration 0 leaves nothing", x.flag)
		}
	}
	stalling, churning := o.roles()
	tooFew := ""
	switch {
	case o.stalled > 0 && stalling == 0:
		tooFew = fmt.Sprintf("--stalled %v%%", 100*o.stalled)
	case o.churn > 0 && churning == 0:
		tooFew = "--churn, which takes a tenth,"
	case o.storm > 0 && o.subscribers == 0:
		tooFew = "--storm"
	case o.sideRooms == 0 && (o.given.sideSubs.Given() || o.given.sideRate.Given()):
		return settings.Errorf("%s and %s are for --side-rooms, and there are none", o.given.sideSubs, o.given.sideRate)
	case o.given.messages.Given() && o.given.duration.Given():
		return settings.Errorf("%s and %s both say how long is measured: give one of them", o.given.messages, o.given.duration)
	}
	if tooFew != "" {
		return settings.Errorf("%s of %d subscribers is nobody: it needs more --subscribers", tooFew, o.subscribers)
	}
	return nil
}

// role says what subscriber i does beside reading: so many stall, spread over
// all of them, and of the others one in ten leaves and comes back.
func (o *options) role(i int) (stalls, churns bool) {
	if n := int(o.stalled*float64(o.subscribers) + 0.5); n > 0 {
		k := (i*n + o.subscribers - 1) / o.subscribers
		stalls = k < n && k*o.subscribers/n == i
	}
	return stalls, o.churn > 0 && i%10 == 1 && !stalls
}

// roles counts them.
func (o *options) roles() (stalling, churning int) {
	for i := range o.subscribers {
		stalls, churns := o.role(i)
		if stalls {
			stalling++
		}
		if churns {
			churning++
		}
	}
	return stalling, churning
}
