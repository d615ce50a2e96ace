package poll

import "testing"

// holding counts how often delivery is held and released.
type holding struct {
	stillPublisher
	holds, releases int
}

func (h *holding) Hold()    { h.holds++ }
func (h *holding) Release() { h.releases++ }

// However much is published in a round, delivery is held once, and released
// once, at its end.
func TestRoundHoldsOnce(t *testing.T) {
	var pub holding
	r := round{h: &Handler{o: Options{Publisher: &pub}}}
	r.end()
	for i := 1; i <= 3; i++ {
		r.hold()
		r.hold()
		if pub.holds != i || pub.releases != i-1 {
			t.Fatalf("round %d: held %d times and released %d times", i, pub.holds, pub.releases)
		}
		r.end()
		r.end()
		if pub.holds != i || pub.releases != i {
			t.Fatalf("after round %d: held %d times and released %d times", i, pub.holds, pub.releases)
		}
	}
}
