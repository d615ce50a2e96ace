package redis

import "testing"

func TestCheckVersion(t *testing.T) {
	for version, ok := range map[string]bool{"6.2.14": false, "5.0.7": false, "7.0.0": true, "7.4.1": true, "8.0": true, "": true, "what": true} {
		if err := checkVersion(map[string]string{"redis_version": version}); (err == nil) != ok {
			t.Errorf("%q: %v", version, err)
		}
	}
}
