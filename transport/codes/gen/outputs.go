package main

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strconv"
	"strings"
)

const generated = "Code generated from codes.json by go generate. DO NOT EDIT."

func goFile(reg registry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\npackage codes\n\nimport \"time\"\n\n", generated)
	open := false
	for _, e := range reg {
		if e.Group != "" {
			if open {
				b.WriteString(")\n\n")
			}
			fmt.Fprintf(&b, "// %s.\nconst (\n", e.Group)
			open = true
			continue
		}
		fmt.Fprintf(&b, "\t// %s: %s\n\t%s Code = %q\n", goName(e.Code), e.Summary, goName(e.Code), e.Code)
	}
	b.WriteString(")\n\n")
	b.WriteString("// All lists every code, in the registry's order.\nfunc All() []Code {\n\treturn []Code{\n")
	for _, e := range reg.codes() {
		fmt.Fprintf(&b, "\t\t%s,\n", goName(e.Code))
	}
	b.WriteString("\t}\n}\n\nfunc lookup(c Code) (Info, bool) {\n\tswitch c {\n")
	for _, e := range reg.codes() {
		fmt.Fprintf(&b, "\tcase %s:\n\t\treturn Info{Code: c", goName(e.Code))
		if e.HTTP != 0 {
			fmt.Fprintf(&b, ", HTTP: %d", e.HTTP)
		}
		if e.Close != 0 {
			fmt.Fprintf(&b, ", Close: %d", e.Close)
		}
		fmt.Fprintf(&b, ", Reconnect: %s", goName(e.Reconnect))
		if e.MayHaveHappened {
			b.WriteString(", MayHaveHappened: true")
		}
		if e.RetryAfterMS != 0 {
			fmt.Fprintf(&b, ", RetryAfter: %d * time.Millisecond", e.RetryAfterMS)
		}
		if e.Allowed != "" {
			fmt.Fprintf(&b, ", Allowed: %q", e.Allowed)
		}
		b.WriteString("}, true\n")
	}
	b.WriteString("\t}\n\treturn Info{}, false\n}\n")
	return format.Source(b.Bytes())
}

// goName is CamelCase with the initialisms that Go writes in capitals.
func goName(code string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(code, "_") {
		switch word {
		case "json", "utf8":
			b.WriteString(strings.ToUpper(word))
		default:
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

func markdownFile(reg registry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<!-- %s -->\n\n# Error codes\n\n", generated)
	b.WriteString("How errors are written and what a client does after one is in [PROTOCOL.md](../PROTOCOL.md), section 14.\n" +
		"*HTTP* is the status of an answer, *close* the WebSocket close code; a code without either is not used there.\n" +
		"Where a code without a close code refuses a connection, the close code is 4400 (never) or 4199 (backoff).\n" +
		"*Reconnect* also says whether the same request may be sent again. A publish that got a code marked\n" +
		"**may have happened** may have taken effect; after every other code it has not.\n")
	for _, e := range reg {
		if e.Group != "" {
			fmt.Fprintf(&b, "\n## %s\n\n| code | HTTP | close | reconnect | meaning |\n|---|---|---|---|---|\n", e.Group)
			continue
		}
		text := e.Summary
		if e.Allowed != "" {
			text += " Allowed: " + e.Allowed + "."
		}
		if e.MayHaveHappened {
			text += " **May have happened.**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", e.Code, number(e.HTTP), number(e.Close), e.Reconnect,
			strings.ReplaceAll(text, "|", "\\|"))
	}
	return b.Bytes(), nil
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func typeScriptFile(reg registry) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// %s\n\n", generated)
	b.WriteString("/** How a client goes on after an error or close. */\nexport type Reconnect = \"now\" | \"backoff\" | \"never\";\n\n")
	b.WriteString("/** The codes that a server of this version sends; a newer one may send others. */\nexport type Code =\n")
	all := reg.codes()
	for i, e := range all {
		fmt.Fprintf(&b, "  | %q", e.Code)
		if i == len(all)-1 {
			b.WriteString(";")
		}
		b.WriteString("\n")
	}
	b.WriteString("\n/** The codes of WebSocket close codes. */\nexport const closeCodes: { readonly [close: number]: Code } = {\n")
	closing := slices.DeleteFunc(slices.Clone(all), func(e entry) bool { return e.Close == 0 })
	slices.SortFunc(closing, func(a, b entry) int { return a.Close - b.Close })
	for _, e := range closing {
		fmt.Fprintf(&b, "  %d: %q,\n", e.Close, e.Code)
	}
	b.WriteString("};\n\n/** A publish that got one of these may have taken effect. */\nexport const mayHaveHappened: readonly string[] = [\n")
	for _, e := range all {
		if e.MayHaveHappened {
			fmt.Fprintf(&b, "  %q,\n", e.Code)
		}
	}
	b.WriteString(`];

/** The policy of a WebSocket close code, by its range; right for unknown codes too. */
export function afterClose(code: number): Reconnect {
  if (code >= 4000 && code <= 4099) return "now";
  if (code >= 4400 && code <= 4599) return "never";
  return [1000, 1002, 1003, 1007, 1008, 1009, 1010].includes(code) ? "never" : "backoff";
}

/** The policy of an HTTP status that is not a success. */
export function afterStatus(status: number): Reconnect {
  return status >= 500 || status === 408 || status === 409 || status === 429 ? "backoff" : "never";
}
`)
	return b.Bytes(), nil
}
