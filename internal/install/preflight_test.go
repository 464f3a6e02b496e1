package install

import (
	"strings"
	"testing"
)

func TestAnotherKubernetesIsFound(t *testing.T) {
	for _, have := range []string{"", "1.32.13"} {
		if f, differs := versionFinding("cp1", have, "1.32.13"); differs {
			t.Errorf("%q: %s", have, f)
		}
	}
	f, differs := versionFinding("cp1", "1.32.13", "1.33.13")
	if text := f.String(); !differs || f.Warning || !strings.Contains(text, "cp1") || !strings.Contains(text, "1.32.13") || !strings.Contains(text, "1.33.13") {
		t.Errorf("%v %s", differs, text)
	}
}
