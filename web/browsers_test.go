package web_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvertd/culvert/hub/needtest"
)

// browsers open a page until the end of the test.
var browsers = map[string]func(t *testing.T, profile, address string){
	"chromium": func(t *testing.T, profile, address string) {
		run(t, nil, needtest.Program(t, "chromium", "chromium-browser", "google-chrome"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
			"--user-data-dir="+profile, "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio", "--remote-debugging-port=0", address)
	},
	"firefox": func(t *testing.T, profile, address string) {
		program := needtest.Program(t, "firefox-esr", "firefox")
		// It is to ask nobody but the page's servers.
		prefs := ""
		for name, value := range map[string]any{
			"app.normandy.enabled": false, "browser.safebrowsing.update.enabled": false, "browser.shell.checkDefaultBrowser": false,
			"datareporting.policy.dataSubmissionEnabled": false, "extensions.update.enabled": false,
			"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false,
			"services.settings.server": "data:,", "toolkit.telemetry.enabled": false,
		} {
			v, _ := json.Marshal(value)
			prefs += fmt.Sprintf("user_pref(%q, %s);\n", name, v)
		}
		if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, []string{"HOME=" + profile}, program, "--headless", "--no-remote", "--profile", profile, address)
	},
	// The engine of Safari, in the small browser that comes with its driver.
	"webkit": func(t *testing.T, profile, address string) {
		server := needtest.Program(t, "Xvfb")
		small := miniBrowser(t)
		numbers, its, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer numbers.Close()
		display := exec.Command(server, "-displayfd", "3", "-screen", "0", "1024x768x24", "-nolisten", "tcp")
		display.ExtraFiles = []*os.File{its}
		start(t, display)
		its.Close()
		number, err := bufio.NewReader(numbers).ReadString('\n')
		if err != nil {
			t.Fatalf("Xvfb tells no display: %v", err)
		}
		run(t, []string{"HOME=" + profile, "DISPLAY=:" + strings.TrimSpace(number), "GDK_BACKEND=x11", "LIBGL_ALWAYS_SOFTWARE=1"}, small, address)
	},
}

// miniBrowser is where packages put it, which is in no PATH.
func miniBrowser(t *testing.T) string {
	t.Helper()
	for _, place := range []string{"/usr/lib/*/webkit2gtk-4.*/MiniBrowser", "/usr/libexec/webkit2gtk-4.*/MiniBrowser"} {
		if found, err := filepath.Glob(place); err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	needtest.Missing(t, "WebKit's MiniBrowser is not installed")
	return ""
}

// browse opens a page until the end of the test.
func browse(t *testing.T, browser, address string) {
	t.Helper()
	profile, err := os.MkdirTemp("", "culvert-"+browser+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) }) // The browser's children may still write there: no t.TempDir, which minds.
	browsers[browser](t, profile, address)
}

// run starts a program until the end of the test.
func run(t *testing.T, environment []string, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), environment...)
	start(t, cmd)
}

func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}
