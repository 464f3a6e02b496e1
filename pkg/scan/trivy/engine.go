//go:build goexperiment.jsonv2

package trivy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // the Java database's driver, which Trivy's own main has

	trivydb "github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy/pkg/db"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	ftypes "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/javadb"

	"naru/manifest"
	"naru/pkg/scan"
)

// Available tells whether this program was built with the scanner.
const Available = true

// New is the scanner.
func New() scan.Scanner { return engine{} }

type engine struct{}

// Name is the scanner with its version.
func (engine) Name() string { return name }

// Scan finds packages and problems in every target. However it ends, it leaves nothing
// behind but its cache.
func (engine) Scan(ctx context.Context, targets []scan.Target, opts scan.Options) (*scan.Result, error) {
	running.Lock()
	defer running.Unlock()
	if opts.Database == nil {
		return nil, errors.New("scanning: no vulnerability database given")
	}
	quiet := silence()
	defer quiet()
	if err := makeScratch(); err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	defer removeScratch()
	s, err := newRun(targets, opts)
	if err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	defer s.close()
	if err := s.analyse(ctx); err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	result, err := s.detect(ctx)
	if err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	return result, nil
}

// silence keeps Trivy's log, which goes to the default logger, from being kept in
// memory or printed, and returns what puts the logger back.
func silence() func() {
	before := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	return func() { slog.SetDefault(before) }
}

// run is one scan.
type run struct {
	opts    scan.Options
	targets []scan.Target
	cache   *layerCache
	// groups of analysers, in order.
	groups []group
	// known are the results of targets that the cache has, nil for the others.
	known []*found
	// keys are the cache keys of what each target consists of, in order.
	keys [][]string
	// notes say of a target what could not be scanned, data what is no program.
	notes    []string
	data     []string
	warnings []string
	tmp      string
}

func newRun(targets []scan.Target, opts scan.Options) (*run, error) {
	opts.Jobs = max(opts.Jobs, 1)
	cache, err := newLayerCache(filepath.Join(opts.CacheDir, "layers"))
	if err != nil {
		return nil, err
	}
	s := &run{opts: opts, targets: targets, cache: cache, keys: make([][]string, len(targets)), notes: make([]string, len(targets)), data: make([]string, len(targets))}
	if opts.Java == nil {
		s.warnings = append(s.warnings, "Java archives were not looked at: there is no Java database")
	}
	if err := s.initJava(); err != nil {
		return s, err
	}
	s.groups = s.makeGroups()
	return s, s.recall()
}

// recall finds the results that the cache has, so that nothing is loaded for them.
func (s *run) recall() error {
	s.known = make([]*found, len(s.targets))
	for i := range s.targets {
		var f found
		ok, err := readJSON(s.resultPath(i), &f)
		if err != nil {
			return err
		}
		if ok {
			s.known[i] = &f
		}
	}
	return nil
}

// initJava points Trivy at the Java database, by the folder it expects.
func (s *run) initJava() error {
	if s.opts.Java == nil {
		return nil
	}
	tmp, err := os.MkdirTemp(s.opts.CacheDir, "java-")
	if err != nil {
		return err
	}
	s.tmp = tmp
	if err := os.Symlink(s.opts.Java.Dir, filepath.Join(tmp, "java-db")); err != nil {
		return err
	}
	javadb.Init(tmp, nil, true, true, ftypes.RegistryOptions{})
	return nil
}

func (s *run) close() {
	if s.tmp != "" {
		_ = os.RemoveAll(s.tmp)
	}
}

// Analysers that no group has: those that look at what a build used and not at what
// was built, that ask for what the site did not, or that are costly for nothing.
var never = slices.Concat(analyzer.TypeLockfiles, []analyzer.Type{
	analyzer.TypeApkCommand, analyzer.TypeHistoryDockerfile, analyzer.TypeImageConfigSecret,
	analyzer.TypeExecutable, analyzer.TypeLicenseFile,
})

// analyse finds what is in every blob that the cache does not know. The three groups
// run one after the other: Trivy's analysers take their options in package variables.
func (s *run) analyse(ctx context.Context) error {
	for _, g := range s.groups {
		if err := s.analyseGroup(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

// makeGroups lists the groups of analysers.
func (s *run) makeGroups() []group {
	content := slices.Concat(never, analyzer.TypeConfigFiles, []analyzer.Type{analyzer.TypeRpmArchive})
	if s.opts.Java == nil {
		content = append(content, analyzer.TypeJar)
	}
	return []group{
		{name: "content", disabled: content, units: s.contentUnits},
		{name: "packages", disabled: allBut(analyzer.TypeDpkg, analyzer.TypeRpmArchive), units: s.packageUnits},
		{name: "config", disabled: allBut(analyzer.TypeHelm, analyzer.TypeKubernetes), units: s.configUnits},
	}
}

// allBut lists every analyser that is not among keep.
func allBut(keep ...analyzer.Type) []analyzer.Type {
	all := slices.Concat(analyzer.TypeOSes, analyzer.TypeLanguages, analyzer.TypeLockfiles, analyzer.TypeIndividualPkgs, analyzer.TypeConfigFiles, never,
		[]analyzer.Type{analyzer.TypeAzure, analyzer.TypeSecret, analyzer.TypeRpmArchive, analyzer.TypePackagesProps,
			analyzer.TypeRedHatContentManifestType, analyzer.TypeRedHatDockerfileType})
	return slices.DeleteFunc(all, func(t analyzer.Type) bool { return slices.Contains(keep, t) })
}

// detect looks up what was found, target by target.
func (s *run) detect(ctx context.Context) (*scan.Result, error) {
	if err := db.Init(s.opts.Database.Dir); err != nil {
		return nil, fmt.Errorf("opening the vulnerability database: %w", err)
	}
	defer func() { _ = trivydb.Close() }()
	out := &scan.Result{Scanner: name, Artifacts: make([]scan.Artifact, len(s.targets)), Advisories: map[string]manifest.Advisory{}, Warnings: s.warnings}
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(s.opts.Jobs)
	for i := range s.targets {
		group.Go(func() error {
			found, err := s.detectTarget(gctx, i)
			if err != nil {
				return fmt.Errorf("looking up %q: %w", s.targets[i].Ref, err)
			}
			mu.Lock()
			defer mu.Unlock()
			out.Artifacts[i] = found.Artifact
			for id, adv := range found.Advisories {
				out.Advisories[id] = adv
			}
			return nil
		})
	}
	return out, group.Wait()
}
