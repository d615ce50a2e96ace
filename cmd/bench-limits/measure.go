package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/culvertd/culvert/cmd/internal/bench/report"
	"github.com/culvertd/culvert/cmd/internal/bench/usage"
)

//go:embed c/limit.c
var limitSource []byte

//go:embed nchan/nchan.conf
var nchanConf string

// bencher has what the rows are measured with.
type bencher struct {
	folder string
	scale  float64
	pinned bool // server on one core, client on another

	commit         string // of what is measured; "" where git does not know
	culvert, limit string // programs; no limit where there is no C compiler
	nginx          string // with Nchan; "" where it is not installed
	goredis        string // program; "" where it cannot be built
	left           []string
}

const module = "github.com/culvertd/culvert"

// build makes the programs.
func (b *bencher) build(ctx context.Context) error {
	source, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", module+"/cmd/bench-limits").Output()
	if err != nil {
		return fmt.Errorf("finding the sources: %w", err)
	}
	here := strings.TrimSpace(string(source))
	b.commit = committed(here) // before the results are written there
	b.culvert = filepath.Join(b.folder, "culvert")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.culvert, module+"/cmd/culvert").CombinedOutput(); err != nil {
		return fmt.Errorf("building culvert: %w\n%s", err, out)
	}
	if cc, err := exec.LookPath("cc"); err != nil {
		b.left = append(b.left, "the C loop: there is no C compiler (cc)")
	} else {
		source := filepath.Join(b.folder, "limit.c")
		if err := os.WriteFile(source, limitSource, 0o644); err != nil {
			return err
		}
		b.limit = filepath.Join(b.folder, "limit")
		if out, err := exec.CommandContext(ctx, cc, "-O2", "-o", b.limit, source).CombinedOutput(); err != nil {
			return fmt.Errorf("compiling limit.c: %w\n%s", err, out)
		}
	}
	const nchan = "/usr/lib/nginx/modules/ngx_nchan_module.so"
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			b.nginx = path
			break
		}
	}
	if _, err := os.Stat(nchan); err != nil || b.nginx == "" {
		b.nginx = ""
		b.left = append(b.left, "Nchan: nginx with "+nchan+" is not installed (Debian: libnginx-mod-nchan)")
	}
	if err := b.buildGoRedis(ctx, here); err != nil {
		b.left = append(b.left, "go-redis: its program cannot be built: "+err.Error())
	}
	return nil
}

// buildGoRedis makes the program of the module beside this one (here), whose
// dependencies may not be at hand.
func (b *bencher) buildGoRedis(ctx context.Context, here string) error {
	program := filepath.Join(b.folder, "goredis")
	out, err := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(here, "goredis"), "-o", program, ".").CombinedOutput()
	if err != nil {
		text, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("%w: %s", err, text)
	}
	b.goredis = program
	return nil
}

// bench runs "culvert bench" with the given flags, against a server that it
// starts.
func (b *bencher) bench(ctx context.Context, format string, args ...any) (*report.Result, error) {
	words := []string{"bench", "--json", "-", "--quiet"}
	if b.pinned {
		words = append(words, "--server-core", "0", "--client-core", "1")
	}
	return b.execute(ctx, append(words, strings.Fields(fmt.Sprintf(format, args...))...))
}

// benchLimit runs it against the C loop that writes k messages in one call.
func (b *bencher) benchLimit(ctx context.Context, k int, format string, args ...any) (*report.Result, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	return b.benchCommand(ctx, fmt.Sprintf("%s %d %d", b.limit, port, k), port, fmt.Sprintf(format, args...))
}

// benchNchan runs it against Nchan.
func (b *bencher) benchNchan(ctx context.Context, format string, args ...any) (*report.Result, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(b.folder, "nchan")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the folder is root's
	}
	conf := strings.NewReplacer("FOLDER", folder, "PORT", strconv.Itoa(port), "USER", user).Replace(nchanConf)
	name := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(name, []byte(conf), 0o644); err != nil {
		return nil, err
	}
	return b.benchCommand(ctx, fmt.Sprintf("%s -p %s -c %s", b.nginx, folder, name), port, "--peer nchan "+fmt.Sprintf(format, args...))
}

func (b *bencher) benchCommand(ctx context.Context, command string, port int, flags string) (*report.Result, error) {
	words := []string{"bench", "--json", "-", "--quiet", "--command", command, "--url", fmt.Sprintf("http://127.0.0.1:%d", port)}
	if b.pinned {
		words = append(words, "--server-core", "0", "--client-core", "1")
	}
	return b.execute(ctx, append(words, strings.Fields(flags)...))
}

func (b *bencher) execute(ctx context.Context, words []string) (*report.Result, error) {
	c := exec.CommandContext(ctx, b.culvert, words...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // so that it ends its server
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("culvert %s: %w\n%s", strings.Join(words, " "), err, errOut.Bytes())
	}
	var r report.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("culvert %s: %w", strings.Join(words, " "), err)
	}
	return &r, nil
}

// freePort is a port that is free now, and very likely in a moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// goBench runs Go benchmarks of a package, on the client's core, and returns
// their figures, named as in "BenchmarkPublish/key=true ns/op".
func (b *bencher) goBench(ctx context.Context, pkg, pattern, benchtime string, flags ...string) (map[string]float64, error) {
	program := filepath.Join(b.folder, strings.ReplaceAll(pkg, "/", "-")+".test")
	if _, err := os.Stat(program); err != nil {
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, module+"/"+pkg).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building the benchmarks of %s: %w\n%s", pkg, err, out)
		}
	}
	c := exec.CommandContext(ctx, program, append([]string{"-test.run", "^$", "-test.bench", pattern, "-test.benchtime", benchtime}, flags...)...)
	c.Dir = b.folder
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	var out, errOut bytes.Buffer
	c.Stdout, c.Stderr = &out, &errOut
	core := -1
	if b.pinned {
		core = 1
	}
	err := usage.StartOn(core, c)
	if err == nil {
		err = c.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("benchmark %s of %s: %w\n%s%s", pattern, pkg, err, out.Bytes(), errOut.Bytes())
	}
	return parseGoBench(out.String())
}

// parseGoBench reads the lines "BenchmarkX  N  12.3 ns/op  4 B/op".
func parseGoBench(text string) (map[string]float64, error) {
	figures := map[string]float64{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", line, err)
			}
			name, _, _ := strings.Cut(fields[0], "-") // without the number of cores
			figures[name+" "+fields[i+1]] = v
		}
	}
	return figures, nil
}
