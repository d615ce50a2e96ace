package main

import (
	"os"
	osexec "os/exec"
	"strings"
	"testing"
)

// TestBenchStartsAServer: one that is flagged or told by the environment to say
// nothing, and one that speaks TLS.
func TestBenchStartsAServer(t *testing.T) {
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, _ := certificate(t)
	for _, args := range [][]string{
		{},
		{"--serve-flags", "--log-level error --log-format text"},
		{"--serve-flags", "--tls-cert " + certFile + " --tls-key " + keyFile, "--insecure-tls"},
	} {
		common := []string{"bench", "--quiet", "--subscribers", "8", "--transport", "mixed", "--outstanding", "2", "--messages", "20", "--settle", "0", "--warm-up", "0"}
		cmd := osexec.CommandContext(deadline(t), name, append(common, args...)...)
		cmd.Env = append(os.Environ(), "CULVERT_LOG_LEVEL=error", "CULVERT_LOG_FORMAT=text")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "published               20 in") || !strings.Contains(string(out), "0 lost, 0 repeated, 0 out of order") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}
