//go:build linux

package lab

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestCatalogue: every number of CATALOGUE.md has rows, those that it names, and
// every row with a number is there.
func TestCatalogue(t *testing.T) {
	text, err := os.ReadFile("CATALOGUE.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[int][]string{}
	for _, r := range rows {
		if slices.Contains(names[r.number], r.name) {
			t.Errorf("two rows are called %q", r.title())
		}
		names[r.number] = append(names[r.number], r.name)
	}
	delete(names, 0) // not of the catalogue
	listed := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		number, err := strconv.Atoi(cells[0])
		if err != nil || len(cells) != 4 {
			continue
		}
		listed++
		if want := strings.Join(names[number], "; "); cells[3] != want || want == "" {
			t.Errorf("number %d names the rows\n\t%s\nand has the rows\n\t%s", number, cells[3], want)
		}
		delete(names, number)
	}
	if len(names) > 0 || listed == 0 {
		t.Errorf("%d numbers are listed, these are not: %v", listed, names)
	}
}
