package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDoctor(t *testing.T) {
	s := startServe(t)
	quick := []string{"--idle", "1s", "--wait", "1s"}
	var status int
	var out, errOut string
	for range 3 { // a busy machine can look like a bad network
		status, out, errOut = exec(t, "", nil, append([]string{"doctor", s.url}, quick...)...)
		if strings.Contains(out, "  - Nothing on this path stands in the way.\n") {
			break
		}
	}
	if status != exitOK || errOut != "" {
		t.Fatalf("status %d, %s\n%s", status, errOut, out)
	}
	for _, want := range []string{"Culvert doctor: " + s.url + "\n", "  good    Plain request  ", "  ...     Long connections", "  - Nothing on this path stands in the way.\n", "Culvert works here over a WebSocket.\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	status, out, _ = exec(t, "", nil, append([]string{"doctor", s.url, "--json"}, quick...)...)
	var report struct {
		URL, Best string
		Works     bool
		Steps     []struct{ ID, State string }
		Findings  []struct{ Code, Network, Culvert string }
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != exitOK {
		t.Fatalf("status %d, %v: %s", status, err, out)
	}
	if report.URL != s.url || !report.Works || report.Best != "websocket" || len(report.Steps) < 15 || len(report.Findings) == 0 {
		t.Errorf("%s", out)
	}
}

func TestDoctorWithoutServer(t *testing.T) {
	status, out, errOut := exec(t, "", nil, "doctor", "http://127.0.0.1:1")
	if status != exitFailed || !strings.Contains(out, "the connection is refused") || !strings.Contains(errOut, "there is no way through for Culvert") {
		t.Errorf("status %d, %s\n%s", status, errOut, out)
	}
}
