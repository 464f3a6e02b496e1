package cli

import (
	"testing"
	"time"
)

func TestAgeFlag(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"30d": 30 * day, "2w": 14 * day, "36h": 36 * time.Hour, "36600d": 36600 * day, "5228w": 36596 * day,
		"": 0, "0d": 0, "-1d": 0, "soon": 0, "1.5d": 0, "36601d": 0, "5229w": 0, "20000w": 0, "2635249153387078803w": 0,
	} {
		var f AgeFlag
		if err := f.Set(s); (err == nil) != (want > 0) || f.Duration != want {
			t.Errorf("%q: %v, %v", s, f.Duration, err)
		}
	}
}
