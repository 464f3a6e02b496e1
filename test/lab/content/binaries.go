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

	"naru/test/lab/cache"
)

// goFlags are the arguments of every go build: the same source gives the same
// bytes wherever it is built.
func goFlags() []string {
	return []string{"build", "-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="}
}

// goEnv is the environment of every go command: the user's, without what would
// change the output.
func goEnv(arch string) []string {
	return append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "GOEXPERIMENT=", "GODEBUG=",
		"GOAMD64=v1", "GOARM64=v8.0", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
}

// goCacheDir is the compiler's cache for what is built here: gigabytes that nothing has a
// use for once the programs are there. The lock of the cache's root guards it.
func (b *builder) goCacheDir() string { return filepath.Join(b.cache, "go-build") }

// compileEnv is goEnv with that cache.
func (b *builder) compileEnv(arch string) []string {
	return append(goEnv(arch), "GOCACHE="+b.goCacheDir())
}

// built removes the compiler's cache after a build that came to its end: one that did not
// goes on from there.
func (b *builder) built(err error) error {
	if err != nil {
		return err
	}
	return os.RemoveAll(b.goCacheDir())
}

// goBinaries builds the commands of m for one architecture, or finds them in the
// cache, and returns the folder that holds them by name.
func (b *builder) goBinaries(ctx context.Context, m *GoModule, arch string) (string, error) {
	version, err := toolOutput(ctx, "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	key, err := json.Marshal([]any{m.Module, m.Version, m.Commands, arch, goFlags(), version})
	if err != nil {
		return "", fmt.Errorf("encoding key: %w", err)
	}
	dir := filepath.Join(b.cache, "bin", shortHash(key))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b.step(fmt.Sprintf("building %s %s for linux/%s", m.Module, m.Version, arch))
	err = cache.Fill(dir, func(tmp string) error { return buildModule(ctx, m, b.compileEnv(arch), tmp) })
	if err != nil {
		return "", fmt.Errorf("building %s: %w", m.Module, err)
	}
	return dir, nil
}

// buildModule builds in a module of its own, which asks for m and nothing else, so
// that versions are those that m asks for.
func buildModule(ctx context.Context, m *GoModule, env []string, out string) error {
	work, err := os.MkdirTemp("", "naru-lab-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	gomod := fmt.Sprintf("module naru-lab\n\ngo 1.26.0\n\nrequire %s %s\n", m.Module, m.Version)
	if err := os.WriteFile(filepath.Join(work, "go.mod"), []byte(gomod), 0o644); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(m.Commands)) {
		args := append(goFlags(), "-o", filepath.Join(out, name), path.Join(m.Module, m.Commands[name]))
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env = work, env
		if _, err := runTool(cmd); err != nil {
			return err
		}
	}
	return nil
}

// cBinary builds s and returns the folder that holds the binary.
func (b *builder) cBinary(ctx context.Context, s *CSource) (string, error) {
	version, err := toolOutput(ctx, "gcc", "-dumpfullversion")
	if err != nil {
		return "", err
	}
	key, err := json.Marshal([]any{s, version})
	if err != nil {
		return "", fmt.Errorf("encoding key: %w", err)
	}
	dir := filepath.Join(b.cache, "bin", shortHash(key))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	b.step(fmt.Sprintf("building %s of %s %s for linux/%s", s.Binary, s.Module, s.Version, s.Arch))
	err = cache.Fill(dir, func(tmp string) error { return compileC(ctx, s, tmp) })
	if err != nil {
		return "", fmt.Errorf("building %s: %w", s.Binary, err)
	}
	return dir, nil
}

func compileC(ctx context.Context, s *CSource, out string) error {
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", s.Module+"@"+s.Version)
	download.Dir, download.Env = out, goEnv(s.Arch)
	data, err := runTool(download)
	if err != nil {
		return err
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(data, &module); err != nil {
		return fmt.Errorf("decoding go mod download: %w", err)
	}
	args := append(slices.Clone(s.Flags), "-o", filepath.Join(out, s.Binary))
	compile := exec.CommandContext(ctx, "gcc", append(args, s.Sources...)...)
	compile.Dir = module.Dir
	_, err = runTool(compile)
	return err
}
