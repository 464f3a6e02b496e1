package install

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"naru/internal/build"
	"naru/internal/intake"
	"naru/internal/journal"
	"naru/internal/progress"
	"naru/internal/sitekey"
	"naru/pkg/bootstrap/certsd"
	"naru/pkg/harbor"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign"
	"naru/pkg/sign/verify"
	lab "naru/test/lab/harbor"
	"naru/test/lab/layout"
	"naru/test/lab/upstream"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[V any](v V, err error) func(*testing.T) V {
	return func(t *testing.T) V {
		t.Helper()
		ok(t, err)
		return v
	}
}

// appRef is an image of two platforms, of which bundles carry one.
const appRef = "ghcr.io/naru/app:1.0"

// newBundle builds an unsigned bundle of appRef; variant makes its content another.
func newBundle(t *testing.T, variant string) string {
	t.Helper()
	return newSignedBundle(t, variant, nil)
}

// newSignedBundle is newBundle, signed unless signer is nil.
func newSignedBundle(t *testing.T, variant string, signer *sign.Signer) string {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	w := must(layout.NewWriter(t.TempDir()))(t)
	var children []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		body := make([]byte, 300_000)
		_, _ = rand.NewChaCha8(sha256.Sum256([]byte(arch + variant))).Read(body)
		layer := must(w.Layer(layout.Gzip, arch, func(tw *tar.Writer) error {
			return layout.AddFile(tw, "file", 0o644, int64(len(body)), bytes.NewReader(body))
		}))(t)
		children = append(children, must(w.Image(layout.ImageSpec{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, Layers: []layout.Layer{layer}}))(t))
	}
	w.Name(layout.Image{Ref: appRef}, must(w.Multi("", children))(t))
	l := must(w.Close())(t)
	up := must(upstream.Start(t.Context(), upstream.Options{Dir: t.TempDir()}))(t)
	defer func() { _ = up.Close() }()
	ok(t, up.Add(t.Context(), l))
	content := filepath.Join(t.TempDir(), "content.yaml")
	ok(t, os.WriteFile(content, []byte("apiVersion: naru/v1\nkind: Content\nname: small\nplatforms: [linux/amd64]\nimages: [{ref: '"+appRef+"'}]\n"), 0o600))
	o := build.Options{ContentFiles: []string{content}, CacheDir: t.TempDir(), OutDir: filepath.Join(t.TempDir(), "medium"), Unsigned: signer == nil,
		Remote: remote.Options{CAFiles: []string{up.CAFile()}, Credentials: credentials.NewMemoryStore()}}
	if signer != nil {
		o.Signer = signer
	}
	for _, s := range up.RegistryMap() {
		o.Remote.Map = append(o.Remote.Map, must(remote.ParseMapping(s))(t))
	}
	_ = must(build.Build(t.Context(), o))(t)
	return o.OutDir
}

func login(exchange *lab.Exchange) HarborLogin {
	return HarborLogin{URL: lab.URL, User: lab.User, Password: lab.Password, Transport: exchange}
}

// seedOptions are those of a push of one bundle.
func seedOptions(exchange *lab.Exchange, bundle, state string) SeedOptions {
	return SeedOptions{
		Intake: intake.Options{Paths: []string{bundle}, SkipVerify: true}, Harbor: login(exchange), State: state, AllowUnscanned: true,
		Progress: progress.New(progress.None, os.Stderr, 0), ChunkSize: 100_000,
	}
}

// journalOf reads the journal below state, whose chain and signatures have to hold.
func journalOf(t *testing.T, state string) []journal.Entry {
	t.Helper()
	ring := must(verify.LoadKeys(filepath.Join(state, "site", sitekey.PublicName)))(t)
	entries, _, err := journal.Read(filepath.Join(state, "journal.jsonl"), ring)
	ok(t, err)
	return entries
}

// TestContractSeed wants a Harbor without the project ghcr.io.
func TestContractSeed(t *testing.T) {
	exchange := lab.Open(t, "seed")
	state := t.TempDir()
	o := seedOptions(exchange, newBundle(t, ""), state)
	first, err := Seed(t.Context(), o)
	ok(t, err)
	r := first.Report
	if first.Pushed.Blobs.Uploaded != 2 || len(r.Mappings) != 1 || len(r.Immutable) != 1 || len(r.Findings) != 0 || !first.NewKey {
		t.Errorf("first run: %+v", r)
	}
	states := map[string]int{}
	for _, l := range r.Lock {
		states[l.State]++
	}
	if states[LockMapped] != 1 || states[LockHeld] != 1 || len(states) != 2 {
		t.Errorf("lock: %+v", r.Lock)
	}
	checkSigned(t, state, first.Path)
	again, err := Seed(t.Context(), o)
	ok(t, err)
	if b := again.Pushed.Blobs; b.Uploaded+b.Mounted != 0 || b.Sent != 0 || len(again.Pushed.Skipped) != 1 || again.NewKey {
		t.Errorf("second run: %+v", again.Pushed)
	}
	if entries := journalOf(t, state); len(entries) != 2 || entries[0].Event != "harbor-seeded" {
		t.Errorf("journal: %+v", entries)
	}
	// The same tag with something else under it: told of before anything is sent.
	var fixed *ImmutableError
	moved, err := Seed(t.Context(), seedOptions(exchange, newBundle(t, "moved"), state))
	if !errors.As(err, &fixed) || len(fixed.Tags) != 1 || moved.Pushed != nil {
		t.Errorf("a moved tag: %v", err)
	}
}

// checkSigned verifies a report as openssl would.
func checkSigned(t *testing.T, state, path string) {
	t.Helper()
	data := must(os.ReadFile(path))(t)
	ring := must(verify.LoadKeys(filepath.Join(state, "site", sitekey.PublicName)))(t)
	_, err := ring.VerifyFile(bytes.NewReader(data), must(os.ReadFile(path+sitekey.SignatureSuffix))(t))
	ok(t, err)
	var r SeedReport
	ok(t, json.Unmarshal(data, &r))
	if r.Kind != KindSeedReport || r.Harbor != lab.URL {
		t.Errorf("report %+v", r)
	}
	if bytes.Contains(data, []byte(lab.Password)) {
		t.Error("the report holds the password")
	}
}

func TestSeedRefusesNamesBeforeItAsks(t *testing.T) {
	o := seedOptions(nil, newBundle(t, ""), t.TempDir())
	o.Only = []string{"elsewhere"}
	o.Harbor.Transport = nil
	if _, err := Seed(t.Context(), o); !errors.Is(err, ErrNothingChosen) {
		t.Errorf("got %v", err)
	}
}

// TestContractRotate wants a Harbor without robots of naru's.
func TestContractRotate(t *testing.T) {
	exchange := lab.Open(t, "rotate")
	state, certs := t.TempDir(), t.TempDir()
	o := RobotsOptions{Harbor: login(exchange), Site: "lab", State: state, Roles: []harbor.Role{harbor.RolePull}, Days: 30}
	made, err := EnsureRobots(t.Context(), o)
	ok(t, err)
	old := must(ReadRobotLogin(made[0].File))(t)
	if again := must(EnsureRobots(t.Context(), o))(t); again[0].Made || again[0].Robot != made[0].Robot {
		t.Errorf("again %+v", again)
	}
	mirrors := certsd.Steady{
		Registries: map[string]string{"docker.io": "docker.io"}, Harbor: lab.URL, Depots: []string{"https://depot.site"}, HarborCA: "/ca", DepotCA: "/ca",
		User: old.User, Secret: old.Secret,
	}
	ok(t, certsd.Write(certs, must(mirrors.Files())(t)))
	handOut := HandOutTo(certs)
	o.HandOut = func(ctx context.Context, l RobotLogin) error {
		// The old robot still works at this moment, and the new one already does.
		r := rotation{RobotsOptions: o}
		return errors.Join(r.try(ctx, *old), r.try(ctx, l), handOut(ctx, l))
	}
	rotated, err := RotateRobots(t.Context(), o)
	ok(t, err)
	now := must(ReadRobotLogin(rotated[0].File))(t)
	if len(rotated[0].Removed) != 1 || rotated[0].Removed[0] != old.User || now.User == old.User || now.Secret == old.Secret {
		t.Errorf("rotated %+v", rotated)
	}
	text := string(must(os.ReadFile(filepath.Join(certs, "docker.io", certsd.FileName)))(t))
	if !strings.Contains(text, basic(*now)) || strings.Contains(text, basic(*old)) {
		t.Errorf("the mirror has another login")
	}
	// A hand-out that fails leaves the old robot, and only it.
	o.HandOut = func(context.Context, RobotLogin) error { return os.ErrPermission }
	if _, err := RotateRobots(t.Context(), o); !errors.Is(err, os.ErrPermission) || strings.Contains(err.Error(), now.Secret) {
		t.Errorf("got %v", err)
	}
	c := must(login(exchange).Client())(t)
	left := must(c.Robots(t.Context()))(t)
	if len(left) != 1 || left[0].Name != now.User {
		t.Errorf("robots left: %+v", left)
	}
	ok(t, c.DeleteRobot(t.Context(), left[0]))
	for _, result := range []any{made, rotated, journalOf(t, state)} {
		data := must(json.Marshal(result))(t)
		for _, secret := range []string{old.Secret, now.Secret, lab.Password} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("a secret is in %s", data)
			}
		}
	}
}

func TestExposedLoginIsRefused(t *testing.T) {
	dir := t.TempDir()
	ok(t, keepRobot(dir, RobotLogin{Role: harbor.RolePull, User: "u", Secret: "planted"}))
	path := robotPath(dir, harbor.RolePull)
	if l := must(ReadRobotLogin(path))(t); l.Secret != "planted" {
		t.Errorf("login %+v", l.User)
	}
	ok(t, os.Chmod(path, 0o644))
	if _, err := ReadRobotLogin(path); !errors.Is(err, ErrExposedLogin) {
		t.Errorf("got %v", err)
	}
	ok(t, os.WriteFile(path, []byte(`{"secret":"planted"`), 0o600))
	ok(t, os.Chmod(path, 0o600))
	if _, err := ReadRobotLogin(path); err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("got %v", err)
	}
}

// TestContractSetUp wants a Harbor in which nothing is set up, and leaves it so but for
// schedules and who may make projects.
func TestContractSetUp(t *testing.T) {
	exchange := lab.Open(t, "setup")
	o := HarborSetup{
		Robots: RobotsOptions{Harbor: login(exchange), Site: "lab", State: t.TempDir(), Roles: harbor.Roles(), Days: 30},
		GC:     "0 0 2 * * 6", Scan: "0 0 4 * * *", Retention: harbor.Retention{Keep: 5, Cron: "0 0 3 * * 0"}, RetainAll: true,
	}
	first := must(SetUpHarbor(t.Context(), o))(t)
	if len(first.Robots) != 3 || !first.NoScanner || len(first.Retention) == 0 {
		t.Errorf("first %+v", first)
	}
	again := must(SetUpHarbor(t.Context(), o))(t)
	if again.Restricted || again.GC || len(again.Retention) != 0 || again.Robots[0].Made {
		t.Errorf("again %+v", again)
	}
	s := must(StatusOfHarbor(t.Context(), login(exchange)))(t)
	if len(s.Robots) != 3 || len(s.Projects) == 0 || len(s.Projects[0].Retention) == 0 || s.Info.ProjectCreation != "adminonly" || len(s.Hidden) != 0 {
		t.Errorf("status %+v", s)
	}
	// A robot that pulls sees less, and is told so.
	l := must(ReadRobotLogin(robotPath(RobotsDir(o.Robots.State), harbor.RolePull)))(t)
	few := must(StatusOfHarbor(t.Context(), HarborLogin{URL: lab.URL, User: l.User, Password: l.Secret, Transport: exchange}))(t)
	if len(few.Hidden) == 0 {
		t.Errorf("a pull robot sees %+v", few)
	}
	c := must(login(exchange).Client())(t)
	for _, r := range s.Robots {
		ok(t, c.DeleteRobot(t.Context(), r))
	}
}

func TestContractReplicate(t *testing.T) {
	exchange := lab.Open(t, "replicate")
	every := time.Second
	if !exchange.Live {
		every = time.Millisecond
	}
	o := ReplicateOptions{
		Harbor: login(exchange), State: t.TempDir(), Sites: []string{"busan"}, Every: every, Progress: progress.New(progress.None, os.Stderr, 0),
	}
	if _, err := Replicate(t.Context(), o); !errors.Is(err, ErrNoSite) {
		t.Errorf("a site nobody told of: %v", err)
	}
	o.Target = &TargetSite{URL: lab.URL, User: lab.User, Password: lab.Password, Kind: harbor.KindHarbor}
	o.Policy = harbor.Policy{Direction: harbor.Push, Trigger: harbor.TriggerManual, Repositories: "nothing-of-this-name/**"}
	done := must(Replicate(t.Context(), o))(t)
	if len(done) != 1 || !done[0].Changed || done[0].Run == nil || !done[0].Run.Done {
		t.Errorf("done %+v", done)
	}
	o.Target = nil
	again := must(Replicate(t.Context(), o))(t)
	if again[0].Changed || again[0].Policy.Name != "naru-to-busan" {
		t.Errorf("again %+v", again)
	}
	if entries := journalOf(t, o.State); len(entries) != 2 || strings.Contains(string(entries[0].Data), lab.Password) {
		t.Errorf("journal %+v", entries)
	}
	o.Sites = []string{"../x"}
	if _, err := Replicate(t.Context(), o); !errors.Is(err, ErrSiteName) {
		t.Errorf("a name that is none: %v", err)
	}
	c := must(login(exchange).Client())(t)
	ok(t, c.DeletePolicy(t.Context(), again[0].Policy))
	ok(t, c.DeleteEndpoint(t.Context(), again[0].Policy.Endpoint))
}

// projects is a Harbor that has projects of these names and nothing else, and writes down
// which of them are given a retention policy.
type projects struct {
	names    []string
	retained *[]string
}

func (p projects) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req}
	var list []map[string]any
	for i, name := range p.names {
		list = append(list, map[string]any{"name": name, "project_id": i, "metadata": map[string]string{"public": "false"}})
	}
	if req.Method == http.MethodPost {
		var policy struct{ Scope struct{ Ref int } }
		if err := json.NewDecoder(req.Body).Decode(&policy); err != nil {
			return nil, err
		}
		*p.retained = append(*p.retained, p.names[policy.Scope.Ref])
		resp.StatusCode, list = http.StatusCreated, nil
	}
	data, err := json.Marshal(list)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, err
}

// TestRetentionOfOthersProjects: a retention policy was given to every project of Harbor,
// and removed the images of others that push to it as well.
func TestRetentionOfOthersProjects(t *testing.T) {
	all := []string{"10.0.0.1_5000", "app.v2", "docker.io", "library", "localhost_5000", "naru", "naru-team", "registry.k8s.io_443", "release-1.0", "team_2025", "team_a"}
	for every, want := range map[bool][]string{false: {"10.0.0.1_5000", "docker.io", "localhost_5000", "naru", "registry.k8s.io_443"}, true: all} {
		var retained []string
		c := must(HarborLogin{URL: "https://harbor.corp.test", User: "u", Password: "planted", Transport: projects{all, &retained}}.Client())(t)
		out := &HarborChanges{}
		ok(t, HarborSetup{Retention: harbor.Retention{Keep: 5, Cron: "0 0 3 * * 0"}, RetainAll: every}.retain(t.Context(), c, out))
		if !slices.Equal(out.Retention, want) || !slices.Equal(retained, want) {
			t.Errorf("every %v: given to %q, told of %q, want %q", every, retained, out.Retention, want)
		}
	}
}
