package main

import (
	"bytes"
	"io"
	osexec "os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestBenchInterrupted: Ctrl-C reaches every process of a terminal's job. What
// the bench then says is not that its server went away.
func TestBenchInterrupted(t *testing.T) {
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(deadline(t), name, "bench", "--subscribers", "20", "--settle", "0", "--warm-up", "0", "--duration", "1h")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout = &out
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for buf := make([]byte, 1024); err == nil; {
		var n int
		n, err = progress.Read(buf)
		said.Write(buf[:n])
		if strings.Contains(said.String(), "measuring") {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
			break
		}
	}
	rest, _ := io.ReadAll(progress)
	said.Write(rest)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || !strings.HasSuffix(said.String(), "culvert bench: interrupted before its end\n") {
		t.Errorf("exit status %d\n%s", code, said.String())
	}
	if !strings.Contains(out.String(), "gaps told, reconnects   0, 0\n") || strings.Contains(out.String(), "  error  ") {
		t.Errorf("its server's end was seen:\n%s", out.String())
	}
}
