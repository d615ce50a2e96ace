package main

import (
	"testing"
	"time"
)

func TestIdlerCollectsWhenQuiet(t *testing.T) {
	const mb = 1 << 20
	var delivered int64
	m := heapUse{allocated: 10 * mb, live: 8 * mb, objects: 9 * mb, free: 5 * mb}
	collected := 0
	i := &idler{delivered: func() int64 { return delivered }, read: func() heapUse { return m }, collect: func() {
		collected++
		m.live, m.objects, m.free = 8*mb, 8*mb, 0
	}}
	now := time.Unix(1e9, 0)
	look := func(what string, want bool) {
		t.Helper()
		before := collected
		now = now.Add(idleLook)
		if i.look(now); (collected > before) != want {
			t.Errorf("%s: collected %v, want %v", what, !want, want)
		}
	}
	look("after the start", true)
	look("nothing to gain", false)
	m.allocated, m.objects = m.allocated+3*mb, m.objects+7*mb
	look("quiet, but soon after the last", false)
	look("quiet, with garbage", true)
	now = now.Add(idlePause)

	m.allocated, m.objects = m.allocated+idleAllocs, m.objects+7*mb
	look("much was allocated", false)
	delivered += idleDeliveries
	look("much was delivered", false)
	look("quiet again", true)
	now = now.Add(idlePause)

	m.live, m.objects = 400*mb, 440*mb
	look("little beside what is alive", false)
	m.free = 20 * mb
	look("enough beside what is alive", true)
	now = now.Add(idlePause)
	m.live, m.objects, m.free = 9*mb, 8*mb, 0
	look("less than is alive", false)
}

func TestReadHeap(t *testing.T) {
	if m := readHeap(); m.allocated == 0 || m.objects == 0 {
		t.Errorf("%+v", m)
	}
}

func TestIdlerEnds(t *testing.T) {
	i := newIdler(func() int64 { return 0 })
	done := make(chan struct{})
	go func() {
		defer close(done)
		i.run(t.Context())
	}()
	t.Cleanup(func() { <-done }) // the test's context has ended by then
}
