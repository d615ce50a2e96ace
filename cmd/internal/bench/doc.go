// Package bench puts a load on a server, measures what the server makes of it,
// and checks meanwhile that every subscriber gets every message once and in
// order. One goroutine drives all connections (package netloop); the course of
// a run is in course.go, from top to bottom.
package bench
