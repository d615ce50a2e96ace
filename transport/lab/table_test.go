//go:build linux

package lab

import (
	"encoding/json"
	"fmt"
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

// adopt takes the findings that a child left in a file.
func adopt(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	var more []finding
	if json.Unmarshal(text, &more) == nil {
		findings.Lock()
		defer findings.Unlock()
		findings.all = append(findings.all, more...)
	}
}

// tables prints what was found, and writes it to the file that LAB_TABLE names.
func tables() {
	findings.Lock()
	defer findings.Unlock()
	if len(findings.all) == 0 || os.Getenv("LAB_FINDINGS") != "" {
		return
	}
	text := markdown(findings.all)
	fmt.Print("\n", text)
	if file := os.Getenv("LAB_TABLE"); file != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
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
		"Made by `LAB_TABLE=transport/lab/RESULTS.md go test ./transport/lab`. A row begins with the number of the catalogue that it\n" +
		"reproduces. Every run has 40 messages from the client and 40 to it. First message: after `connect()`. Noticed: from the moment\n" +
		"of silence to the next message. The last column is the worst of: messages delivered, own messages delivered, publishes answered,\n" +
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
