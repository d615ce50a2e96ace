package settings

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// String declares a setting that is a text; check may be nil.
func (s *Set) String(p *string, name, arg, def, usage string, check func(string) error) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: arg, usage: usage, shown: def, parse: func(text string) error {
		if check != nil {
			if err := check(text); err != nil {
				return err
			}
		}
		*p = text
		return nil
	}})
}

// Strings declares a setting that may be given several times; in the
// environment the values are separated by spaces or commas.
func (s *Set) Strings(p *[]string, name, arg, usage string, check func(string) error) *Setting {
	return s.add(&Setting{name: name, arg: arg, usage: usage, list: true, parse: func(text string) error {
		if check != nil {
			if err := check(text); err != nil {
				return err
			}
		}
		*p = append(*p, text)
		return nil
	}})
}

// Choice declares a setting that is one of a few words.
func (s *Set) Choice(p *string, name, def string, words []string, usage string) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: strings.Join(words, "|"), usage: usage, shown: def, parse: func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("it must be %s", orList(words))
		}
		*p = text
		return nil
	}})
}

// Bool declares a setting that is off unless it is given.
func (s *Set) Bool(p *bool, name, usage string) *Setting {
	*p = false
	return s.add(&Setting{name: name, usage: usage, boolean: true, parse: func(text string) error {
		v, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("it must be true or false")
		}
		*p = v
		return nil
	}})
}

// Int declares a setting that is a number from low to high.
func (s *Set) Int(p *int, name string, def, low, high int, usage string) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: "N", usage: usage, shown: strconv.Itoa(def), parse: func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return fmt.Errorf("it must be a number from %d to %d", low, high)
		}
		*p = n
		return nil
	}})
}

// Size declares a setting that is a number of bytes from low to high.
func (s *Set) Size(p *int64, name string, def, low, high int64, usage string) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: "SIZE", usage: usage, shown: FormatSize(def), parse: func(text string) error {
		n, ok := parseSize(text)
		if !ok || n < low || n > high {
			return fmt.Errorf("it must be a size from %s to %s, such as 65536, 64KiB or 1MB", FormatSize(low), FormatSize(high))
		}
		*p = n
		return nil
	}})
}

// Duration declares a setting that is a time from low to high.
func (s *Set) Duration(p *time.Duration, name string, def, low, high time.Duration, usage string) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: "TIME", usage: usage, shown: formatDuration(def), parse: func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < low || d > high {
			return fmt.Errorf("it must be a time from %s to %s, such as 500ms, 15s, 10m or 24h", formatDuration(low), formatDuration(high))
		}
		*p = d
		return nil
	}})
}

// Seconds declares a setting that is a time from low to high, in whole seconds:
// what is sent or counted as such must not be cut short in silence.
func (s *Set) Seconds(p *time.Duration, name string, def, low, high time.Duration, usage string) *Setting {
	*p = def
	return s.add(&Setting{name: name, arg: "TIME", usage: usage + ", in whole seconds", shown: formatDuration(def), parse: func(text string) error {
		d, err := time.ParseDuration(text)
		if err != nil || d < low || d > high || d%time.Second != 0 {
			return fmt.Errorf("it must be a time in whole seconds from %s to %s, such as %s", formatDuration(low), formatDuration(high), formatDuration(def))
		}
		*p = d
		return nil
	}})
}

var units = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1},
}

// FormatSize writes a number of bytes so that parseSize reads the same again.
func FormatSize(n int64) string {
	for _, u := range units {
		if u.bytes > 1 && n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func parseSize(text string) (int64, bool) {
	factor := int64(1)
	for _, u := range units {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			text, factor = strings.TrimSpace(number), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, false
	}
	return n * factor, true
}

// formatDuration is Duration.String without units that are zero: 1h, not 1h0m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func orList(words []string) string {
	last := len(words) - 1
	if last <= 0 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
