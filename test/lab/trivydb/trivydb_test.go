package trivydb_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"naru/test/lab/trivydb"
)

func TestSameAdvisoriesSameBytes(t *testing.T) {
	var first []byte
	for range 6 {
		dir := t.TempDir()
		if err := trivydb.Build(dir, trivydb.Default(), trivydb.Date()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "trivy.db"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(data, first) {
			t.Fatal("the database differs")
		}
	}
}
