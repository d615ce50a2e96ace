package fault

import (
	"fmt"
	"time"
)

// Op is an operation of hub.Store.
type Op int

// The operations.
const (
	Publish Op = iota
	Read
	Heads
	Watch
	Renew
	Release
	Present
	Ping
	ops
)

var opNames = [ops]string{"Publish", "Read", "Heads", "Watch", "Renew", "Release", "Present", "Ping"}

// String is the name of the method.
func (o Op) String() string {
	if o < 0 || o >= ops {
		return fmt.Sprintf("Op(%d)", int(o))
	}
	return opNames[o]
}

// OpRates are the faults of one operation. The first three are shares of its
// calls, 0 to 1, of which a call meets at most one; together at most 1.
type OpRates struct {
	// Refuse: the call fails with hub.ErrUnavailable and nothing was done. Of
	// a batch that is published, a random number of elements at the end are
	// refused, often all.
	Refuse float64
	// Unknown: the call fails although something may have been done. A publish
	// then gives hub.ErrOutcomeUnknown, again for a random end of its batch,
	// and of those elements all were applied, or none, or all will be a
	// little later. Renew and Release give hub.ErrUnavailable, applied or
	// not. The others cannot leave anything unknown and ignore it.
	Unknown float64
	// Behind: a Read fails with hub.ErrBehind. The others ignore it.
	Behind float64
	// Delay is the share of calls that take up to MaxDelay longer, before or
	// after the work is done. A context that ends meanwhile ends the call, as
	// hub.Store demands.
	Delay    float64
	MaxDelay time.Duration
}

// DeliveryRates are the faults of what watchers are told: shares of the
// messages (or of calls, where it says so), 0 to 1, together at most 1.
type DeliveryRates struct {
	// Drop: the message never arrives. A Resync of its room follows within
	// MaxLate, unless SilentDrops.
	Drop float64
	// Duplicate: the message arrives twice, the second time within MaxLate.
	Duplicate float64
	// Reorder: the message arrives after the next delivery to the same
	// watcher, or after MaxLate.
	Reorder float64
	// Late: the message arrives within MaxLate.
	Late float64
	// Resync is the share of deliveries (calls) after which Resync is called
	// without a reason, for the room or for every room.
	Resync float64
	// SilentDrops leaves the Resync after a drop out. That breaks the law of
	// Watch: it is for what a hub does beyond it.
	SilentDrops bool
	// MaxLate is the longest delay of a delivery.
	MaxLate time.Duration
	// PresenceDrop and PresenceLate are shares of the calls that tell of
	// presence: lost (a Resync follows as after Drop), or told within MaxLate.
	PresenceDrop, PresenceLate float64
}

// Rates are how often what goes wrong. The zero value is a store without faults.
type Rates struct {
	Publish, Read, Heads, Watch, Renew, Release, Present, Ping OpRates

	Deliveries DeliveryRates
}

// All gives every operation the same rates, and leaves deliveries alone.
func All(r OpRates) Rates {
	return Rates{Publish: r, Read: r, Heads: r, Watch: r, Renew: r, Release: r, Present: r, Ping: r}
}

func (r *Rates) of(o Op) *OpRates {
	return [ops]*OpRates{&r.Publish, &r.Read, &r.Heads, &r.Watch, &r.Renew, &r.Release, &r.Present, &r.Ping}[o]
}

// Validate reports the first rate that is not a share.
func (r Rates) Validate() error {
	for o := range ops {
		p := r.of(o)
		if err := shares(o.String(), p.Refuse, p.Unknown, p.Behind); err != nil {
			return err
		}
		if err := shares(o.String()+" delays", p.Delay); err != nil {
			return err
		}
		if p.Delay > 0 && p.MaxDelay <= 0 {
			return fmt.Errorf("fault: %v has delays without MaxDelay", o)
		}
	}
	d := r.Deliveries
	if err := shares("deliveries", d.Drop, d.Duplicate, d.Reorder, d.Late); err != nil {
		return err
	}
	if err := shares("resyncs", d.Resync); err != nil {
		return err
	}
	if err := shares("presence", d.PresenceDrop, d.PresenceLate); err != nil {
		return err
	}
	if d.Drop+d.Duplicate+d.Reorder+d.Late+d.PresenceDrop+d.PresenceLate > 0 && d.MaxLate <= 0 {
		return fmt.Errorf("fault: deliveries have faults without MaxLate")
	}
	return nil
}

func shares(what string, of ...float64) error {
	sum := 0.0
	for _, s := range of {
		if s < 0 {
			return fmt.Errorf("fault: a rate of %s is %v, it must be 0 to 1", what, s)
		}
		sum += s
	}
	if sum > 1+1e-9 {
		return fmt.Errorf("fault: the rates of %s add up to %v, 1 is the most", what, sum)
	}
	return nil
}
