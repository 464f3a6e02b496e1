package sign

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func TestPasswordSources(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := environment(map[string]string{PasswordVariable: "from env"})
	tests := map[string]struct {
		source PasswordSource
		want   string
	}{
		"environment":       {PasswordSource{LookupEnv: env}, "from env"},
		"empty variable":    {PasswordSource{LookupEnv: environment(map[string]string{PasswordVariable: ""})}, ""},
		"file wins":         {PasswordSource{File: file("from file"), LookupEnv: env}, "from file"},
		"file with newline": {PasswordSource{File: file("from file\n")}, "from file"},
		"file from Windows": {PasswordSource{File: file("from file\r\n")}, "from file"},
		"spaces are kept":   {PasswordSource{File: file(" a b \n")}, " a b "},
	}
	for name, test := range tests {
		got, err := test.source.Password(t.Context(), true)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, content := range map[string]string{"empty": "", "only a newline": "\n", "two lines": "a\nb\n", "long": strings.Repeat("x", maxPasswordSize+1)} {
		if got, err := (PasswordSource{File: file(content), LookupEnv: env}).Password(t.Context(), false); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
	if _, err := (PasswordSource{File: filepath.Join(t.TempDir(), "missing"), LookupEnv: env}).Password(t.Context(), false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestNoPassword(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	for name, source := range map[string]PasswordSource{
		"zero":          {},
		"no variable":   {LookupEnv: environment(nil)},
		"not a console": {Terminal: null},
	} {
		if _, err := source.Password(t.Context(), false); !errors.Is(err, ErrNoPassword) {
			t.Errorf("%s: got %v, want ErrNoPassword", name, err)
		}
	}
}
