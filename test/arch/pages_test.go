package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// comment is what follows a command on its line, in the page's language.
var comment = regexp.MustCompile(`\s+#.*`)

// page is what two languages of a page have in common.
type page struct {
	// Commands are the lines of examples; Fields what stands in code in the first
	// column of tables.
	Commands, Fields []string
}

func readPage(t *testing.T, path string) page {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var p page
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "    ") && strings.TrimSpace(line) != "" {
			p.Commands = append(p.Commands, strings.TrimSpace(comment.ReplaceAllString(strings.TrimRight(line, "\n"), "")))
		}
		if cell := strings.Split(line, "|"); len(cell) > 2 && cell[0] == "" && strings.HasPrefix(strings.TrimSpace(cell[1]), "`") {
			p.Fields = append(p.Fields, strings.TrimSpace(cell[1]))
		}
	}
	return p
}

// TestKoreanPagesSayTheSame holds that each Korean page of docs has the commands of the
// English one, and the same fields in its tables, and that the two lead to each other.
func TestKoreanPagesSayTheSame(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.ko.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, ko := range pages {
		en := strings.TrimSuffix(ko, ".ko.md") + ".md"
		if diff := cmp.Diff(readPage(t, en), readPage(t, ko)); diff != "" {
			t.Errorf("%s (-english +korean):\n%s", filepath.Base(ko), diff)
		}
		for from, to := range map[string]string{en: ko, ko: en} {
			data, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(data), "]("+filepath.Base(to)+")") {
				t.Errorf("%s does not lead to %s", filepath.Base(from), filepath.Base(to))
			}
		}
	}
}
