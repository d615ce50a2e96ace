//go:build !linux

package poller

import "sync"

// epoll does not exist here.
type epoll struct{}

func startEpoll(*sync.WaitGroup, func()) *epoll { return nil }
func (*epoll) add(*Conn) bool                   { return false }
func (*epoll) close()                           {}
