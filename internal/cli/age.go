package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AgeFlag is a length of time in days (30d), weeks (2w), or as Go has it (36h).
type AgeFlag struct{ Duration time.Duration }

func (f *AgeFlag) String() string {
	const day = 24 * time.Hour
	switch {
	case f.Duration == 0:
		return ""
	case f.Duration%day == 0:
		return fmt.Sprintf("%dd", f.Duration/day)
	}
	return f.Duration.String()
}

// Type names the flag's value in help.
func (f *AgeFlag) Type() string { return "age" }

// Set reads an age.
func (f *AgeFlag) Set(s string) error {
	const longest = 100 * 366 // days
	for suffix, days := range map[string]int{"d": 1, "w": 7} {
		digits, ok := strings.CutSuffix(s, suffix)
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(digits); err == nil && n > 0 && n <= longest/days {
			f.Duration = time.Duration(n*days) * 24 * time.Hour
			return nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		f.Duration = d
		return nil
	}
	return fmt.Errorf("age %q: want days, weeks or hours, as in 30d, 2w or 36h", s)
}
