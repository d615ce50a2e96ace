package settings

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Columns of the help text: where explanations start, and where they end.
const (
	helpColumn = 28
	helpWidth  = 96
)

// WriteFlags writes the flags under their groups, each with what it means, its
// default and its environment variable.
func (s *Set) WriteFlags(w io.Writer) {
	for i, x := range s.all {
		if i == 0 || s.all[i-1].group != x.group {
			fmt.Fprintf(w, "\n%s:\n", x.group)
		}
		left := "  --" + x.name
		if x.arg != "" {
			left += " " + x.arg
		}
		about := x.usage
		switch {
		case x.list:
			about += "; may be repeated"
		case x.shown != "":
			about += " (default " + x.shown + ")"
		}
		lines := append(wrap(about, helpWidth-helpColumn), "$"+Env(x.name))
		if len(left)+2 > helpColumn {
			fmt.Fprintln(w, left)
		} else {
			fmt.Fprintf(w, "%-*s%s\n", helpColumn, left, lines[0])
			lines = lines[1:]
		}
		for _, line := range lines {
			fmt.Fprintf(w, "%*s%s\n", helpColumn, "", line)
		}
	}
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// Nearest returns the word that is likely meant by text, or "".
func Nearest(text string, words []string) string {
	best, least := "", 3 // a third mistake is no typing mistake
	for _, word := range words {
		if d := distance(text, word); d < least {
			best, least = word, d
		}
	}
	if best == "" && len(text) >= 3 {
		if i := slices.IndexFunc(words, func(w string) bool { return strings.Contains(w, text) }); i >= 0 {
			best = words[i]
		}
	}
	return best
}

// distance is the number of letters to insert, remove or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := left
			if a[i] != b[j] {
				cost++
			}
			left = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
