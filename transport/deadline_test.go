package transport

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A deadline is a context like that of context.WithTimeout, however early or
// late somebody asks for its channel.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, asked := range []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second} {
			d := newDeadline(2 * time.Second)
			began := time.Now()
			if at, ok := d.Deadline(); !ok || !at.Equal(began.Add(2*time.Second)) {
				t.Errorf("the deadline is %v, %v", at, ok)
			}
			time.Sleep(asked)
			if err := d.Err(); (err == nil) != (asked < 2*time.Second) {
				t.Errorf("after %v: %v", asked, err)
			}
			<-d.Done()
			if took := time.Since(began); took != max(asked, 2*time.Second) {
				t.Errorf("asked after %v, it ended after %v", asked, took)
			}
			if d.Err() != context.DeadlineExceeded {
				t.Errorf("it ended with %v", d.Err())
			}
			d.end()
			if d.Err() != context.DeadlineExceeded {
				t.Errorf("after its end it has %v", d.Err())
			}
		}
	})
}

// What is over ends contexts made of it, and leaves nothing behind.
func TestDeadlineEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadline(time.Hour)
		child, cancel := context.WithCancel(d)
		defer cancel()
		if d.Value("x") != nil || child.Err() != nil {
			t.Error("it is over already")
		}
		d.end()
		<-child.Done()
		if child.Err() != context.Canceled || d.Err() != context.Canceled {
			t.Errorf("ended with %v and %v", child.Err(), d.Err())
		}

		d = newDeadline(time.Hour)
		d.end()
		d.end()
		<-d.Done()
		if d.Err() != context.Canceled {
			t.Errorf("ended with %v", d.Err())
		}
	})
}

// A store that answers at once costs a publish no timer.
func TestDeadlineAllocates(t *testing.T) {
	n := testing.AllocsPerRun(100, func() {
		d := newDeadline(time.Hour)
		if err := context.Context(d).Err(); err != nil {
			t.Fatal(err)
		}
		d.end()
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
}
