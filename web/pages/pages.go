// Package pages holds what the page /doctor and the command of this name say
// in the same words.
package pages

import (
	_ "embed" // for Findings
)

// Findings is a JSON object: what may be found out about a network, by code,
// each with its level, what the network does, and what Culvert does about it.
// A name in braces stands for a value of the finding's.
//
//go:embed findings.json
var Findings []byte
