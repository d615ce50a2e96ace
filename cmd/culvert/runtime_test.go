package main

import "testing"

// TestTuning: what the environment says of Go's runtime stands, and the memory
// that the system allows leaves room for the kernel's part.
func TestTuning(t *testing.T) {
	for _, tt := range []struct {
		set     string
		allowed int64
		want    tuning
	}{
		{"", 0, tuning{3, 0}},
		{"", 400 << 20, tuning{3, 300 << 20}},
		{"GOMEMLIMIT", 400 << 20, tuning{3, 0}},
		{"GOMAXPROCS", 400 << 20, tuning{0, 300 << 20}},
	} {
		getenv := func(name string) string {
			if name == tt.set {
				return "1"
			}
			return ""
		}
		if got := tuningFor(getenv, 2, tt.allowed); got != tt.want {
			t.Errorf("%q set, %d allowed: %+v, want %+v", tt.set, tt.allowed, got, tt.want)
		}
	}
}
