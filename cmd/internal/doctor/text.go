package doctor

import (
	"fmt"
	"strings"
	"time"
)

// width is that of the lines of a report.
const width = 92

// Line is a test as a line of the report.
func (s Step) Line() string {
	return strings.TrimRight(fmt.Sprintf("  %-8s%-32s%s", s.State, s.Title, s.Result), " ") + "\n"
}

// Head is the report's beginning.
func (r *Report) Head() string {
	return fmt.Sprintf("Culvert doctor: %s\n%s\n\n", r.URL, r.Time.Format(time.RFC3339))
}

// Conclusion is what comes behind the tests.
func (r *Report) Conclusion() string {
	var b strings.Builder
	b.WriteString("\n")
	if r.Proxy != "" {
		fmt.Fprintf(&b, "The requests were sent through the proxy %s.\n", r.Proxy)
	}
	if r.From != "" {
		fmt.Fprintf(&b, "The server sees requests from %s", r.From)
		if r.Via != "" {
			fmt.Fprintf(&b, " (%s)", r.Via)
		}
		b.WriteString(".\n")
	}
	if r.Proxy != "" || r.From != "" {
		b.WriteString("\n")
	}
	b.WriteString("What this network does, and what Culvert does about it:\n\n")
	for _, f := range r.Findings {
		wrap(&b, "  - ", f.Network)
		wrap(&b, "    ", f.Culvert)
	}
	b.WriteString("\n")
	wrap(&b, "", r.Verdict)
	return b.String()
}

// Text is the whole report.
func (r *Report) Text() string {
	var b strings.Builder
	b.WriteString(r.Head())
	for _, s := range r.Steps {
		b.WriteString(s.Line())
	}
	b.WriteString(r.Conclusion())
	return b.String()
}

// wrap writes a paragraph whose first line starts with first, and its others
// as far to the right.
func wrap(b *strings.Builder, first, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		if !empty && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line, empty = strings.Repeat(" ", len(first)), true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	b.WriteString(line + "\n")
}
