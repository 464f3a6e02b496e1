package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"naru/internal/progress"
)

// Media presets of --volume-size, in bytes, each a little under what the medium
// holds so that its file system and the files beside the volume fit as well.
var presets = []struct {
	name  string
	bytes int64
}{
	{"dvd", 4_500_000_000},
	{"dvd-dl", 8_300_000_000},
	{"bd", 24_500_000_000},
	{"fat32", 4<<30 - 1},
}

// SizeFlag is a size in bytes, with a unit (4GiB, 700MB), or a media preset.
type SizeFlag struct{ Bytes int64 }

// PresetNames lists the presets.
func PresetNames() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.name)
	}
	return names
}

func (f *SizeFlag) String() string {
	if f.Bytes == 0 {
		return ""
	}
	return progress.Bytes(f.Bytes)
}

// Type names the flag's value in help.
func (f *SizeFlag) Type() string { return "size" }

// Set reads a size.
func (f *SizeFlag) Set(s string) error {
	for _, p := range presets {
		if s == p.name {
			f.Bytes = p.bytes
			return nil
		}
	}
	n, err := ParseSize(s)
	if err != nil {
		return err
	}
	f.Bytes = n
	return nil
}

// ParseSize reads "4GiB", "700MB" or a plain number of bytes.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "kKmMgGtTiIbB")
	units := map[string]int64{"": 1, "b": 1, "kb": 1e3, "k": 1 << 10, "kib": 1 << 10, "mb": 1e6, "m": 1 << 20, "mib": 1 << 20,
		"gb": 1e9, "g": 1 << 30, "gib": 1 << 30, "tb": 1e12, "t": 1 << 40, "tib": 1 << 40}
	unit, ok := units[strings.ToLower(s[len(digits):])]
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !ok || math.IsNaN(n) || n*float64(unit) < 1 || n*float64(unit) >= 1<<62 {
		return 0, fmt.Errorf("size %q: want a number with a unit, as in 4GiB or 700MB, or one of %s", s, strings.Join(PresetNames(), ", "))
	}
	return int64(n * float64(unit)), nil
}
