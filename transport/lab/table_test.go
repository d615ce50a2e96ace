//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// finding is a line of the lab's table.
type finding struct {
	Table     string // its heading
	Order     int    // its place in that table
	Row       string
	Runtime   string
	Transport string
	First     time.Duration // to the first message
	RoundTrip time.Duration // of a plain request on the same path
	Noticed   time.Duration // from silence to the next message; 0: not a question here
	Ledger    string        // lost/repeated/out of order, both directions together
	Best      string        // of the other clients, where they were measured
	Late      []string      // what took longer than promised
	Elsewhere bool          // Late is, or is also, for the transport
}

// findings gathers them. In a namespace's child they go to a file, for the parent.
var findings struct {
	sync.Mutex
	all []finding
}

func found(t testing.TB, f finding) {
	t.Helper()
	findings.Lock()
	defer findings.Unlock()
	findings.all = append(findings.all, f)
	if file := os.Getenv("LAB_FINDINGS"); file != "" {
		text, err := json.Marshal(findings.all)
		if err == nil {
			err = os.WriteFile(file, text, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// left are the findings that a child left in a file.
func left(t testing.TB, file string) (all []finding) {
	t.Helper()
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Error(err)
	}
	return all
}

// tables prints what was found, and writes it to the file that LAB_TABLE names.
// After a complete run RESULTS.md must have the same rows, whatever their times;
// false: it has others.
func tables(complete bool) bool {
	findings.Lock()
	defer findings.Unlock()
	if len(findings.all) == 0 || inChild() {
		return true
	}
	text := markdown(findings.all)
	fmt.Print("\n", text)
	if file := os.Getenv("LAB_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return false
		}
	}
	if !complete {
		return true
	}
	page, err := os.ReadFile("RESULTS.md")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return false
	}
	added, gone := differences(rowsOf(text), rowsOf(string(page)))
	if len(added)+len(gone) > 0 {
		fmt.Fprintf(os.Stderr, "RESULTS.md is not what this run is about: make it again.\nNot there: %q\nNot here: %q\n", added, gone)
		return false
	}
	return true
}

// rowsOf are the rows of a page: table, row, client.
func rowsOf(page string) (all []string) {
	table := ""
	for line := range strings.Lines(page) {
		if heading, ok := strings.CutPrefix(line, "## "); ok {
			table = strings.TrimSpace(heading)
		}
		if cells := strings.Split(line, " | "); len(cells) > 6 && cells[0] != "| row" {
			all = append(all, table+": "+strings.TrimPrefix(cells[0], "| ")+", "+cells[1])
		}
	}
	return all
}

// differences are what is only in one, and what is only in the other.
func differences(one, other []string) (onlyOne, onlyOther []string) {
	without := func(all, these []string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(these, s) })
	}
	return without(one, other), without(other, one)
}

func TestRowsOfAPage(t *testing.T) {
	f := finding{Table: "T", Row: "r", Runtime: "node", First: time.Second}
	g := f
	g.Row, g.First = "s", 2*time.Second
	h := f
	h.Noticed, h.Best = time.Second, "1 s"
	fg, hh := rowsOf(markdown([]finding{f, g})), rowsOf(markdown([]finding{h}))
	if added, gone := differences(hh, fg); len(added) != 0 || !slices.Equal(gone, []string{"T: s, node"}) {
		t.Errorf("added %q, gone %q", added, gone)
	}
}

func markdown(all []finding) string {
	slices.SortStableFunc(all, func(a, b finding) int {
		if c := strings.Compare(a.Table, b.Table); c != 0 {
			return c
		}
		if c := a.Order - b.Order; c != 0 {
			return c
		}
		return strings.Compare(a.Row+a.Runtime, b.Row+b.Runtime)
	})
	var b strings.Builder
	b.WriteString("# What the lab found\n\n" +
		"Made by `LAB_TABLE=$PWD/transport/lab/RESULTS.md go test ./transport/lab`. A row begins with the number\n" +
		"of the [catalogue](CATALOGUE.md) that it reproduces. Every run has 40 messages from the client and 40 to it. First message: after `connect()`. Noticed: from the moment in\n" +
		"which every open connection falls silent, while new ones pass, to the next message. The last column is the worst of: messages delivered, own messages delivered, publishes answered,\n" +
		"messages kept by the server.\n")
	table := ""
	for _, f := range all {
		if f.Table != table {
			table = f.Table
			compared := slices.ContainsFunc(all, func(g finding) bool { return g.Table == table && g.Best != "" })
			b.WriteString("\n## " + table + "\n\n| row | client | transport reached | first message, s | round trip, s | noticed, s | lost/repeated/reordered |")
			if compared {
				b.WriteString(" best of the others |")
			}
			b.WriteString("\n|---|---|---|---|---|---|---|")
			if compared {
				b.WriteString("---|")
			}
			b.WriteString("\n")
		}
		noticed := "–"
		if f.Noticed > 0 {
			noticed = fmt.Sprintf("%.1f", f.Noticed.Seconds())
		}
		first := "–"
		if f.First > 0 {
			first = fmt.Sprintf("%.2f", f.First.Seconds())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.3f | %s | %s |", f.Row, f.Runtime, f.Transport, first, f.RoundTrip.Seconds(), noticed, f.Ledger)
		if f.Best != "" {
			b.WriteString(" " + f.Best + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
