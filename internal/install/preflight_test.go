package install

import (
	"strings"
	"testing"
)

func TestVersionsOfKubernetes(t *testing.T) {
	for _, have := range []string{"", "1.32.13", "1.32.2", "1.31.9"} {
		if f, wrong := versionFinding("cp1", have, "1.32.13"); wrong {
			t.Errorf("%q: %s", have, f)
		}
	}
	for have, word := range map[string]string{"1.32.14": "back", "1.33.0": "back", "1.30.5": "1.31", "2.0.0": "back", "devel": "compared"} {
		f, wrong := versionFinding("cp1", have, "1.32.13")
		if text := f.String(); !wrong || f.Warning || !strings.Contains(text, "cp1") || !strings.Contains(text, have) || !strings.Contains(f.Mend, word) {
			t.Errorf("%q: %v %s", have, wrong, text)
		}
	}
}
