// Package arch tests the shape of the repository: who may import whom, what the
// isolated side links, and calls that production code does not make.
package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"naru/pkg/archive"
)

const module = "naru"

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Doc        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

func list(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Doc,Imports,Deps,GoFiles"}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestEveryPackageHasADoc holds the rule that a package says what it is.
func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// floorOf numbers the floors of the house, the ground at the bottom: imports go
// down only, and siblings in pkg/ do not import each other.
func floorOf(path string) int {
	switch {
	case strings.HasPrefix(path, module+"/manifest"):
		return 0
	case strings.HasPrefix(path, module+"/pkg/"):
		return 1
	case strings.HasPrefix(path, module+"/internal/"):
		return 2
	case strings.HasPrefix(path, module+"/cmd/"):
		return 3
	default:
		return 4 // test
	}
}

// family is the package of pkg/ that path belongs to.
func family(path string) string {
	return strings.SplitN(strings.TrimPrefix(path, module+"/pkg/"), "/", 2)[0]
}

func TestImportFloors(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := floorOf(p.ImportPath)
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			to := floorOf(imp)
			switch {
			case to > from:
				t.Errorf("%s imports %s, which is above it", p.ImportPath, imp)
			case from == 1 && to == 1 && family(p.ImportPath) != family(imp):
				t.Errorf("%s imports its sibling %s: they meet in internal/", p.ImportPath, imp)
			case from == 3 && to == 3 && p.ImportPath != imp:
				t.Errorf("%s imports another program, %s", p.ImportPath, imp)
			}
		}
	}
}

// heavy are what the isolated side must not link: scanners and cloud SDKs, and
// what brings them.
var heavy = []string{
	"github.com/aquasecurity/", "github.com/anchore/", "github.com/aws/", "github.com/Azure/", "github.com/AzureAD/",
	"cloud.google.com/", "google.golang.org/api", "google.golang.org/grpc", "github.com/hashicorp/vault",
	"github.com/sigstore/cosign", "github.com/sigstore/sigstore-go", "github.com/sigstore/rekor", "k8s.io/kubernetes",
	"github.com/docker/docker", "github.com/moby/moby",
}

func TestInstallLinksNothingHeavy(t *testing.T) {
	for _, p := range list(t, "./cmd/install") {
		for _, dep := range p.Deps {
			for _, h := range heavy {
				if strings.HasPrefix(dep, h) {
					t.Errorf("cmd/install links %s", dep)
				}
			}
		}
	}
}

// maxInstall is the size, in bytes, that the stripped install program stays under.
const maxInstall = 90 << 20

func TestInstallIsStaticAndSmall(t *testing.T) {
	out := filepath.Join(t.TempDir(), "install")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/install")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, msg)
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() >= maxInstall {
		t.Errorf("install has %d bytes, the bound is %d", info.Size(), maxInstall)
	}
	if msg, err := exec.Command("ldd", out).CombinedOutput(); err == nil {
		t.Errorf("install is linked dynamically:\n%s", msg)
	}
}

// banned are calls that production code does not make, with the files that may.
var banned = map[string][]string{
	"os.Exit":                      {"cmd/bundle/main.go", "cmd/install/main.go"},
	"panic":                        {"pkg/serve/server.go"}, // http.ErrAbortHandler has no other form
	"time.Sleep":                   nil,
	"http.DefaultClient":           nil,
	"ssh.InsecureIgnoreHostKey":    nil,
	"ioutil.ReadAll":               nil,
	"log.Fatal":                    nil,
	"InsecureSkipVerify (a field)": nil,
}

func TestBannedCalls(t *testing.T) {
	top := root(t)
	for _, dir := range []string{"cmd", "internal", "manifest", "pkg"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(top, path)
			if err != nil {
				return err
			}
			return checkFile(t, path, filepath.ToSlash(rel))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func checkFile(t *testing.T, path, rel string) error {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("parsing: %w", err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		name := ""
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				name = x.Name + "." + n.Sel.Name
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok {
				name = id.Name
			}
		case *ast.KeyValueExpr:
			if id, ok := n.Key.(*ast.Ident); ok && id.Name == "InsecureSkipVerify" {
				name = "InsecureSkipVerify (a field)"
			}
		}
		allowed, bad := banned[name]
		if bad {
			for _, a := range allowed {
				bad = bad && a != rel
			}
		}
		if bad {
			t.Errorf("%s: %s", fset.Position(n.Pos()), name)
		}
		return true
	})
	return nil
}

// TestEncoderNameFollowsTheLibrary keeps packed forms of an older compression
// library from being mixed with those of a newer one.
func TestEncoderNameFollowsTheLibrary(t *testing.T) {
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/klauspost/compress")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
	if !strings.HasSuffix(archive.Encoder, "-"+version) {
		t.Errorf("archive.Encoder is %q, the library has version %s", archive.Encoder, version)
	}
}

// scannerModule is what one package alone may link: it is large, and needs an
// experiment of the compiler.
const scannerModule = "github.com/aquasecurity/trivy/"

func TestOnePackageLinksTheScanner(t *testing.T) {
	for _, list := range [][]string{{"./internal/build"}, {"./internal/survey"}, {"./internal/install"}, {"./pkg/scan"}} {
		for _, dep := range goList(t, nil, append([]string{"-deps"}, list...)...) {
			if strings.HasPrefix(dep, scannerModule) {
				t.Errorf("%s links %s", list[0], dep)
				break
			}
		}
	}
}

// TestWithoutTheScanner holds that naru compiles without the experiment, and says then
// that it has no scanner.
func TestWithoutTheScanner(t *testing.T) {
	env := append(os.Environ(), "GOEXPERIMENT=nojsonv2")
	for _, dep := range goList(t, env, "-deps", "./cmd/bundle") {
		if strings.HasPrefix(dep, scannerModule) {
			t.Fatalf("cmd/bundle links %s without the experiment", dep)
		}
	}
	cmd := exec.Command("go", "test", "-vet=off", "./pkg/scan/trivy")
	cmd.Dir, cmd.Env = root(t), env
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("testing the scanner that is not there: %v\n%s", err, msg)
	}
}

// goList lists packages, in env or the environment of the test.
func goList(t *testing.T, env []string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", "{{.ImportPath}}"}, args...)...)
	cmd.Dir, cmd.Env = root(t), env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}
