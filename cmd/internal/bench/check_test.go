package bench

import "testing"

func TestDescriptors(t *testing.T) {
	for _, tt := range []struct {
		o       options
		allowed int
		ok      bool
	}{
		{options{subscribers: 1000, publishers: 8}, 0, true},
		{options{subscribers: 1000, publishers: 8}, 1024, true},
		{options{subscribers: 1000, publishers: 9}, 1024, false},
		{options{subscribers: 10, publishers: 8, sideRooms: 500, sideSubs: 2}, 1042, true},
		{options{subscribers: 10, publishers: 8, sideRooms: 500, sideSubs: 2}, 1041, false},
	} {
		if err := tt.o.checkDescriptors(tt.allowed); (err == nil) != tt.ok {
			t.Errorf("%+v with %d: %v", tt.o, tt.allowed, err)
		}
	}
}

// As many stall and come back as are asked for, spread over all, and none does
// both.
func TestRoles(t *testing.T) {
	for _, tt := range []struct {
		subscribers        int
		stalled, churn     float64
		stalling, churning int
	}{
		{0, 0.5, 1, 0, 0}, {1, 0.5, 1, 1, 0}, {5, 0.01, 1, 0, 1}, {50, 0.01, 0, 1, 0}, {5000, 0.01, 100, 50, 500}, {3, 0.5, 1, 2, 0}, {1000, 0.333, 1, 333, 67},
	} {
		o := options{subscribers: tt.subscribers, stalled: tt.stalled, churn: tt.churn}
		if stalling, churning := o.roles(); stalling != tt.stalling || churning != tt.churning {
			t.Errorf("%+v: %d and %d", tt, stalling, churning)
		}
	}
}
