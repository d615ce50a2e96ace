package redis

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for text, want := range map[string]Address{
		"redis://localhost":                        {Mode: "single", Hosts: []string{"localhost:6379"}},
		"redis://h:7000/3":                         {Mode: "single", Hosts: []string{"h:7000"}, DB: 3},
		"redis://[::1]:7000":                       {Mode: "single", Hosts: []string{"[::1]:7000"}},
		"redis://[::1]":                            {Mode: "single", Hosts: []string{"[::1]:6379"}},
		"redis://:pw@h":                            {Mode: "single", Hosts: []string{"h:6379"}, Password: "pw"},
		"redis://u:p%40%2F%3Aw@h?db=2":             {Mode: "single", Hosts: []string{"h:6379"}, Username: "u", Password: "p@/:w", DB: 2},
		"redis://u:p@w@h":                          {Mode: "single", Hosts: []string{"h:6379"}, Username: "u", Password: "p@w"},
		"valkeys://h":                              {Mode: "single", Hosts: []string{"h:6379"}, TLS: true},
		"rediss://h?insecure=true":                 {Mode: "single", Hosts: []string{"h:6379"}, TLS: true, Insecure: true},
		"redis+cluster://a:1,b,c:3":                {Mode: "cluster", Hosts: []string{"a:1", "b:6379", "c:3"}},
		"rediss+cluster://a":                       {Mode: "cluster", Hosts: []string{"a:6379"}, TLS: true},
		"redis+sentinel://a,b:2/main":              {Mode: "sentinel", Hosts: []string{"a:26379", "b:2"}, Master: "main"},
		"redis+sentinel://u:p@a/main/4":            {Mode: "sentinel", Hosts: []string{"a:26379"}, Master: "main", DB: 4, Username: "u", Password: "p"},
		"redis+sentinel://a/m?sentinel_password=x": {Mode: "sentinel", Hosts: []string{"a:26379"}, Master: "m", SentinelPassword: "x"},
		"unix:///run/redis.sock?db=1":              {Mode: "single", Hosts: []string{"/run/redis.sock"}, Socket: true, DB: 1},
		"unix://u:p@/run/redis.sock":               {Mode: "single", Hosts: []string{"/run/redis.sock"}, Socket: true, Username: "u", Password: "p"},
	} {
		got, err := ParseURL(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v, %v\nwant %+v", text, got, err, want)
		}
	}
}

func TestParseURLNeverTellsThePassword(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		"", "h:6379", secret, "http://u:" + secret + "@h", "redis://u:" + secret + "@", "redis://u:" + secret + "@h:port",
		"redis://u:" + secret + "%zz@h", "redis://u:" + secret + "@h/x", "redis://u:" + secret + "@h/-1", "redis://u:" + secret + "@h/1/2",
		"redis://u:" + secret + "@a,b", "redis+sentinel://u:" + secret + "@a", "redis+cluster://u:" + secret + "@a/1",
		"redis://u:" + secret + "@h?what=1", "redis://u:" + secret + "@h?%zz", "redis://u:" + secret + "@h#x", "redis://u:" + secret + "@h?insecure=1",
		"rediss://u:" + secret + "@h?insecure=x", "unix://" + secret + "/x", "unix://", "redis+foo://u:" + secret + "@h", "unix+cluster:///x",
		"redis://u:" + secret + "@h\x00", "redis://u:" + secret + "@a:1:2", "redis://u:" + secret + "@h?db=" + secret, "redis://h?sentinel_password=" + secret + "&x=1",
		// Passwords that are not encoded, and so end up elsewhere in the URL.
		"redis://u:1?" + secret + "@h", "redis://u:1#" + secret + "@h", "redis://u:1/" + secret + "@h", "redis://u:1%" + secret + "@h",
		"redis://u:1?" + secret + "=@h:6379/2", "redis+sentinel://u:1/" + secret + "@h", "unix://u:1?" + secret + "@/x",
	} {
		_, err := ParseURL(text)
		if err == nil {
			t.Errorf("%q is accepted", text)
			continue
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error tells it: %v", text, err)
		}
		if err := (Options{URL: text}).Validate(); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: Validate says %v", text, err)
		}
	}
	a, err := ParseURL("redis+sentinel://u:" + secret + "@a,b/main/2?sentinel_password=" + secret)
	if err != nil || strings.Contains(a.String(), secret) {
		t.Errorf("%v, %v", a.String(), err)
	}
}

func TestOptionsValidate(t *testing.T) {
	good := Options{URL: "redis://h"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"brace in prefix": func(o *Options) { o.Prefix = "a{b}" },
		"long prefix":     func(o *Options) { o.Prefix = strings.Repeat("p", 65) },
		"negative":        func(o *Options) { o.HistoryCount = -1 },
		"head too short":  func(o *Options) { o.HistoryAge, o.HeadTTL = 100, 10 },
		"lanes":           func(o *Options) { o.Lanes = 3 },
		"long publish":    func(o *Options) { o.PublishTimeout = 1 << 40 },
	} {
		o := good
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
