//go:build !unix

package main

// descriptorLimit is unknown on this system.
func descriptorLimit() int { return 0 }
