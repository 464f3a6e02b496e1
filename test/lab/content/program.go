package content

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"naru/test/lab/cache"
)

// GoProgram names programs of a Go module that needs its own go.mod at the root of
// a build: because it replaces modules by folders of its repository, or because
// only parts of it are wanted. The build's go.mod is that of the module, which it
// then asks for itself.
type GoProgram struct {
	Module  string `json:"module"`
	Version string `json:"version"`
	// Packages to build, each into a binary named by its last element; with Main or
	// MainFrom also the name of the one binary.
	Packages []string `json:"packages,omitempty"`
	Binary   string   `json:"binary,omitempty"`
	// Main is the source of a main package that takes the place of the module's own.
	Main string `json:"main,omitempty"`
	// MainFrom is a file of the module that is taken as the main package, without the
	// lines that import a package of Without.
	MainFrom string   `json:"mainFrom,omitempty"`
	Without  []string `json:"without,omitempty"`
	// Staging is the version that modules published from folders of the repository
	// have; Older are those that are to be had in OlderStaging only.
	Staging      string   `json:"staging,omitempty"`
	Older        []string `json:"older,omitempty"`
	OlderStaging string   `json:"olderStaging,omitempty"`
	// LDFlags are added to those of every build.
	LDFlags string `json:"ldflags,omitempty"`
	Arch    string `json:"arch"`
}

// modFile is what "go mod edit -json" says of a go.mod.
type modFile struct {
	Go      string
	GoDebug []struct{ Key, Value string }
	Require []struct{ Path, Version string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

// program builds p, or finds it in the cache, and returns the folder of binaries.
func (b *builder) program(ctx context.Context, p *GoProgram) (string, error) {
	version, err := toolOutput(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	src, err := moduleDir(ctx, p)
	if err != nil {
		return "", err
	}
	mod, sum, err := p.files(ctx, src)
	if err != nil {
		return "", err
	}
	// The files stand in the key for what they hold: another recipe, another build.
	key, err := json.Marshal([]any{p, mod, sum, goFlags(), version})
	if err != nil {
		return "", fmt.Errorf("encoding key: %w", err)
	}
	dir := filepath.Join(b.cache, "bin", shortHash(key))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b.step(fmt.Sprintf("building %s %s for linux/%s", p.Module, p.Version, p.Arch))
	err = cache.Fill(dir, func(tmp string) error { return p.build(ctx, b.compileEnv(p.Arch), src, mod, sum, tmp) })
	if err != nil {
		return "", fmt.Errorf("building %s: %w", p.Module, err)
	}
	return dir, nil
}

// moduleDir downloads the module's source.
func moduleDir(ctx context.Context, p *GoProgram) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", p.Module+"@"+p.Version)
	cmd.Dir, cmd.Env = os.TempDir(), goEnv(p.Arch)
	data, err := runTool(cmd)
	if err != nil {
		return "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("decoding go mod download: %w", err)
	}
	return m.Dir, nil
}

// files are go.mod and go.sum of the build.
func (p *GoProgram) files(ctx context.Context, src string) (mod, sum string, err error) {
	data, err := runTool(exec.CommandContext(ctx, "go", "mod", "edit", "-json", filepath.Join(src, "go.mod")))
	if err != nil {
		return "", "", err
	}
	var m modFile
	if err := json.Unmarshal(data, &m); err != nil {
		return "", "", fmt.Errorf("decoding go mod edit: %w", err)
	}
	sums, err := os.ReadFile(filepath.Join(src, "go.sum"))
	if err != nil {
		return "", "", err
	}
	return p.goMod(&m), string(sums), nil
}

// staged says in which version a module of the repository is published.
func (p *GoProgram) staged(module string) string {
	if slices.Contains(p.Older, module) {
		return p.OlderStaging
	}
	return p.Staging
}

func (p *GoProgram) goMod(m *modFile) string {
	local := map[string]bool{}
	for _, r := range m.Replace {
		if strings.HasPrefix(r.New.Path, ".") {
			local[r.Old.Path] = true
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "module naru-lab\n\ngo %s\n\n", m.Go)
	for _, d := range m.GoDebug { // the defaults of the Go that it was written for
		fmt.Fprintf(&s, "godebug %s=%s\n\n", d.Key, d.Value)
	}
	fmt.Fprintf(&s, "require %s %s\n", p.Module, p.Version)
	for _, r := range m.Require {
		switch {
		case p.dropped(r.Path):
		case local[r.Path] && p.Staging != "":
			fmt.Fprintf(&s, "require %s %s\n", r.Path, p.staged(r.Path))
		default:
			fmt.Fprintf(&s, "require %s %s\n", r.Path, r.Version)
		}
	}
	for _, r := range m.Replace {
		switch {
		case p.dropped(r.Old.Path):
		case local[r.Old.Path]:
			fmt.Fprintf(&s, "replace %s => %s %s\n", r.Old.Path, r.Old.Path, p.staged(r.Old.Path))
		default:
			fmt.Fprintf(&s, "replace %s => %s %s\n", strings.TrimSpace(r.Old.Path+" "+r.Old.Version), r.New.Path, r.New.Version)
		}
	}
	return s.String()
}

// dropped tells modules that nothing which is built here imports.
func (p *GoProgram) dropped(module string) bool {
	return p.Staging != "" && (strings.HasPrefix(module, "k8s.io/sample-") || module == "k8s.io/code-generator")
}

func (p *GoProgram) build(ctx context.Context, env []string, src, mod, sum, out string) error {
	work, err := os.MkdirTemp("", "naru-lab-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	files := map[string]string{"go.mod": mod, "go.sum": sum}
	if files["main.go"], err = p.main(src); err != nil {
		return err
	}
	targets := append([]string{"-o", out + "/"}, p.Packages...)
	if files["main.go"] == "" {
		delete(files, "main.go")
	} else {
		targets = []string{"-o", filepath.Join(out, p.Binary), "."}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(work, name), []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	flags := goFlags()
	flags[len(flags)-1] += " " + p.LDFlags
	cmd := exec.CommandContext(ctx, "go", append(flags, targets...)...)
	cmd.Dir, cmd.Env = work, env
	_, err = runTool(cmd)
	return err
}

// main is the source of the main package, empty where the module's own are built.
func (p *GoProgram) main(src string) (string, error) {
	if p.MainFrom == "" {
		return p.Main, nil
	}
	data, err := os.ReadFile(filepath.Join(src, p.MainFrom))
	if err != nil {
		return "", err
	}
	var s strings.Builder
	dropped := 0
	for line := range strings.Lines(string(data)) {
		if slices.ContainsFunc(p.Without, func(pkg string) bool { return strings.Contains(line, `"`+path.Join(p.Module, pkg)+`"`) }) {
			dropped++
			continue
		}
		s.WriteString(line)
	}
	if dropped != len(p.Without) {
		return "", fmt.Errorf("%s of %s imports %d of the %d packages to leave out", p.MainFrom, p.Module, dropped, len(p.Without))
	}
	return s.String(), nil
}
