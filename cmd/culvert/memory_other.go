//go:build !linux

package main

// memoryAllowed is not known on this system.
func memoryAllowed() int64 { return 0 }
