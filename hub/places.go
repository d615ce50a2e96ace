package hub

// places holds subscribers, each at a place of its own until it leaves: one that
// comes or goes touches the memory of no other, which is in no cache. The zero
// places is empty.
type places struct {
	at   []*Subscriber // nil where one has left
	free []int32       // the nils
}

func (p *places) add(s *Subscriber) (place int32) {
	if n := len(p.free); n > 0 {
		place, p.free = p.free[n-1], p.free[:n-1]
		p.at[place] = s
		return place
	}
	p.at = append(p.at, s)
	return int32(len(p.at) - 1)
}

func (p *places) remove(place int32) {
	p.at[place] = nil
	if p.free = append(p.free, place); len(p.free) == len(p.at) {
		p.clear()
	}
}

// minPlaces is how many places are kept for those who come next.
const minPlaces = 64

// clear empties it, and gives memory back that its last use had no need of.
func (p *places) clear() {
	if cap(p.at) > minPlaces && len(p.at) < cap(p.at)/4 {
		*p = places{}
		return
	}
	clear(p.at)
	p.at, p.free = p.at[:0], p.free[:0]
}

// len is how many there are.
func (p *places) len() int { return len(p.at) - len(p.free) }

// all lists them.
func (p *places) all() []*Subscriber {
	all := make([]*Subscriber, 0, p.len())
	for _, s := range p.at {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}
