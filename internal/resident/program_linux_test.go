package resident

import (
	"os"
	"strings"
	"testing"
)

// fileMemory is how much of the mappings of files is resident, in KiB.
func fileMemory(t *testing.T) (kib int64) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, value, _ := strings.Cut(string(status), "RssFile:")
	for _, digit := range strings.Fields(value)[0] {
		kib = kib*10 + int64(digit-'0')
	}
	return kib
}

// touched is read through, so that something of the program is resident.
var touched = strings.Repeat("naru", 1<<10)

func TestTrimDropsTheProgram(t *testing.T) {
	maps, err := programMaps()
	if err != nil {
		t.Fatal(err)
	}
	if len(maps) < 2 {
		t.Fatalf("%d mappings of the program found, want its code and its data at least", len(maps))
	}
	before := fileMemory(t)
	if err := dropProgram(); err != nil {
		t.Fatal(err)
	}
	after := fileMemory(t)
	t.Logf("resident of files: %d KiB, after %d KiB", before, after)
	if after >= before {
		t.Errorf("nothing was dropped: %d KiB are resident, %d KiB were", after, before)
	}
	Trim()
	if strings.Count(touched, "naru") != 1<<10 {
		t.Error("what the program held is gone")
	}
}

func TestParseMapping(t *testing.T) {
	for line, want := range map[string]mapping{
		"00400000-00a04000 r-xp 00000000 fe:00 123        /usr/bin/bundle": {0x400000, 0xa04000},
		"Rss:                 100 kB":                                      {},
		"VmFlags: rd ex mr mw me sd":                                       {},
		"00a04000-00400000 r-xp 00000000 fe:00 123 /usr/bin/bundle":        {},
	} {
		got, ok := parseMapping(line)
		if ok != (want != mapping{}) || ok && got != want {
			t.Errorf("%q is read as %x, %v", line, got, ok)
		}
	}
}
