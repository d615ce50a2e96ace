package hub

import (
	"math/rand/v2"
	"testing"
)

func TestPlaces(t *testing.T) {
	var p places
	at := map[*Subscriber]int32{}
	check := func() {
		t.Helper()
		if p.len() != len(at) || len(p.all()) != len(at) {
			t.Fatalf("%d are there, %d are listed, want %d", p.len(), len(p.all()), len(at))
		}
		for _, s := range p.all() {
			if place, ok := at[s]; !ok || p.at[place] != s {
				t.Fatal("another one is there")
			}
		}
	}
	for i := range 20_000 {
		if rand.IntN(1000) >= 500+i/100-100 {
			s := new(Subscriber)
			at[s] = p.add(s)
		} else {
			for s, place := range at {
				p.remove(place)
				delete(at, s)
				break
			}
		}
		if i%97 == 0 {
			check()
		}
	}
	for s, place := range at {
		p.remove(place)
		delete(at, s)
	}
	check()
	// What many have used few do not keep.
	for range 1000 {
		p.add(new(Subscriber))
	}
	p.clear()
	p.add(new(Subscriber))
	p.clear()
	if check(); cap(p.at) > minPlaces {
		t.Errorf("%d places are kept for nobody", cap(p.at))
	}
}
