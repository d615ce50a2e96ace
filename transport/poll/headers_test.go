package poll

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// apart are files whose handlers have no part in polls.
var apart = []string{
	"pages/",         // the pages and scripts, which no poll asks for
	"middlebox/",     // proxies for tests
	"transporttest/", // clients
}

// asks finds where a handler looks at a header line; its name is the one group
// that is not empty.
var asks = regexp.MustCompile("Header(?:\\.Get\\(|\\.Values\\(|\\[)\"([A-Za-z-]+)\"|GetHeader\\(\"([A-Za-z-]+)\"|\\.(Cookie)s?\\(|\\.(Referer|UserAgent)\\(\\)")

// A poll on a parked connection is answered without a request, whatever the
// lines that kindOf ignores: so no handler of rooms may decide by one of them.
// Whoever needs to makes it a line that decides, in kindOf.
func TestNoHandlerDecidesByWhatPollsIgnore(t *testing.T) {
	looked := 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		short := strings.TrimPrefix(filepath.ToSlash(name), "../")
		for _, prefix := range apart {
			if strings.HasPrefix(short, prefix) {
				return nil
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range asks.FindAllStringSubmatch(string(text), -1) {
			header := strings.Join(m[1:], "")
			if header == "UserAgent" {
				header = "User-Agent"
			}
			looked++
			if kindOf([]byte(header+":")) == lineIgnored {
				t.Errorf("transport/%s looks at %s (%s): then it must decide how a poll is taken: take it out of what kindOf in transport/poll/plain.go ignores", short, header, m[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked == 0 {
		t.Error("no handler looks at any header line: the pattern is wrong")
	}
	for _, source := range []string{`r.Header.Get("Cookie")`, `r.Header["Cookie"]`, `c.GetHeader("Cookie")`, `r.Cookie("session")`, `r.Cookies()`, `r.Header.Values("Cookie")`} {
		if m := asks.FindStringSubmatch(source); m == nil || kindOf([]byte(strings.Join(m[1:], "")+":")) != lineIgnored {
			t.Errorf("%s is not found", source)
		}
	}
}
