package mini_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/store/redis/mini"
)

func TestKeysExpireInRealTime(t *testing.T) {
	s, err := mini.Open(t.Context(), "", redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := hub.Publish{Room: "room", ID: hub.NewMessageID(), Data: []byte("1"), Key: "k", KeyTTL: 50 * time.Millisecond}
	if r := s.Publish(t.Context(), []hub.Publish{p})[0]; r.Err != nil || r.Duplicate {
		t.Fatalf("%+v", r)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		r := s.Publish(t.Context(), []hub.Publish{p})[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if !r.Duplicate {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the key lives on")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestItEndsWithItsStore(t *testing.T) {
	s, err := mini.Open(t.Context(), "", redis.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := net.Dial("tcp", s.Addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "192.0.2.1:6379", "nonsense", "example.com:1"} {
		if s, err := mini.Open(context.Background(), addr, redis.Options{}); err == nil {
			s.Close()
			t.Errorf("%s is accepted", addr)
		}
	}
	if _, err := mini.Open(context.Background(), "", redis.Options{Prefix: "{}"}); err == nil || !strings.Contains(err.Error(), "prefix") {
		t.Error(err)
	}
}
