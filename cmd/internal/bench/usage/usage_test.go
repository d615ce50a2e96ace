package usage_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/culvertd/culvert/cmd/internal/bench/usage"
	"github.com/culvertd/culvert/hub/needtest"
)

func known(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, usage.ErrUnknown) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOfThisProcess(t *testing.T) {
	before, err := usage.Of(os.Getpid())
	known(t, err)
	if before.RSS < 1<<20 || before.Private > before.RSS {
		t.Errorf("%d bytes resident, %d of them private", before.RSS, before.Private)
	}
	now := before
	for spins := 0; now.CPU < before.CPU+5*time.Millisecond; spins++ {
		if now, err = usage.Of(os.Getpid()); err != nil || spins > 1_000_000 {
			t.Fatal(spins, err)
		}
	}
	d, err := usage.CPU(os.Getpid())
	if err != nil || d < now.CPU {
		t.Errorf("CPU is %v, %v; %v before", d, err, now.CPU)
	}
}

// A command's children count with it.
func TestFamily(t *testing.T) {
	_, err := usage.Of(os.Getpid())
	known(t, err)
	shell := needtest.Program(t, "sh")
	c := exec.Command(shell, "-c", `exec 3<&0; (echo ready; read x <&3) & echo ready; wait`)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := usage.StartOn(-1, c); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	lines.Scan()
	both, err := usage.Of(c.Process.Pid)
	if err != nil || both.CPU <= 0 || both.RSS <= 0 {
		t.Errorf("%+v, %v", both, err)
	}
	in.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := usage.Of(c.Process.Pid); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a process that has ended: %v", err)
	}
}

func TestStartOnNoSuchCore(t *testing.T) {
	_, err := usage.TCPMemory()
	known(t, err)
	if err := usage.StartOn(1000, exec.Command("true")); !errors.Is(err, usage.ErrCore) {
		t.Errorf("core 1000: %v", err)
	}
}

func TestFiles(t *testing.T) {
	if n := usage.Files(); n < 0 || n > 0 && n < 8 {
		t.Error(n)
	}
}

func TestTCPMemory(t *testing.T) {
	n, err := usage.TCPMemory()
	known(t, err)
	if n < 0 {
		t.Error(n)
	}
}
