package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"naru/internal/discover"
	"naru/internal/progress"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror"
	"naru/pkg/mirror/charts"
	"naru/pkg/mirror/store"
)

// run is the state of one build. Each step reads what the ones before it set.
type run struct {
	opts Options
	// load
	release   *manifest.ReleaseSet
	contents  []*manifest.Content
	selection *manifest.Selection
	lock      *manifest.Lock
	raw       map[string][]byte // files of the release, by their path in the bundle
	// open
	store   *store.Store
	mirror  *mirror.Mirror
	fetcher *charts.Fetcher
	// pin
	images  map[string][]*pinnedImage // by component
	charts  map[string][]*pinnedChart
	files   map[string][]*pinnedFile
	systems []*system      // with OS packages
	locked  *manifest.Lock // of exactly what the bundle carries
	// pinning guards what pin's workers note.
	pinning sync.Mutex
	pins    *manifest.Lock // found by this run
	// encoded are the blobs whose packed form this run made.
	encoded sync.Map // digest.Digest -> struct{}
	// encoding bounds how many blobs are encoded at a time.
	encoding *semaphore.Weighted
	// scan
	survey *survey.Survey // nil when no scanner ran
	// layout
	bundleJSON []byte
	signature  []byte
	plan       *archive.Plan
	// pack, media
	volumes []archive.VolumeFile
	result  Result
	// finished ends the run before its last step: a dry run, or nothing to do.
	finished bool
}

// step is one part of a run.
type step struct {
	name string
	run  func(*run, context.Context) error
}

// buildSteps is a whole build, in order.
var buildSteps = []step{
	{"load", (*run).load},
	{"choose folder", (*run).chooseOut},
	{"lock", (*run).loadLock},
	{"open", (*run).open},
	{"pin", (*run).pin},
	{"fetch", (*run).fetch},
	{"discover", (*run).discover},
	{"check signers", (*run).checkSigners},
	{"scan", (*run).scan},
	{"lay out", (*run).layout},
	{"pack", (*run).pack},
	{"media", (*run).media},
}

// lockSteps pin without fetching layers.
var lockSteps = []step{
	{"load", (*run).load},
	{"lock", (*run).loadLock},
	{"open", (*run).open},
	{"pin", (*run).pin},
}

// Result is what a build made.
type Result struct {
	// Bundle is the digest of bundle.json, the bundle's identity.
	Bundle  string `json:"bundle"`
	Release string `json:"release"`
	Out     string `json:"out"`
	// UpToDate says that the folder held this very bundle already.
	UpToDate bool     `json:"upToDate"`
	Signed   bool     `json:"signed"`
	Images   int      `json:"images"`
	Charts   int      `json:"charts"`
	Files    int      `json:"files"`
	Packages int      `json:"packages"` // OS package files
	Blobs    int      `json:"blobs"`
	Bytes    int64    `json:"bytes"`   // content, unpacked
	Fetched  int64    `json:"fetched"` // bytes asked of the network for layers
	Volumes  []Volume `json:"volumes,omitempty"`
	Pulled   []string `json:"pulledIn,omitempty"` // components that only requires asked for
	// NotCarried are the selected components whose content the user has to supply.
	NotCarried []string `json:"notCarried,omitempty"`
	Scan       string   `json:"scan"`
	// Discovery is what the charts and manifests showed; nil where there are none.
	Discovery *discover.Report `json:"discovery,omitempty"`
	// Fingerprint is that of the signing key.
	Fingerprint string `json:"fingerprint,omitempty"`
	// DryRun says that nothing but the plan was made; NeededCache and NeededOut are
	// the bytes that the cache and the output folder would grow by.
	DryRun      bool  `json:"dryRun,omitempty"`
	NeededCache int64 `json:"neededCache"`
	NeededOut   int64 `json:"neededOut"`
}

// Volume is one file of the bundle.
type Volume struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Build makes the bundle that opts describe in opts.OutDir. It is safe to run
// again at any time: complete blobs are not fetched again, and a folder that
// holds the bundle already is left as it is.
func Build(ctx context.Context, opts Options) (*Result, error) {
	if opts.Signer == nil && !opts.Unsigned && !opts.DryRun {
		return nil, ErrUnsigned
	}
	r := newRun(opts)
	return &r.result, r.execute(ctx, buildSteps)
}

// Pin resolves everything that opts select and returns the completed lock
// without fetching layers or files that are pinned already.
func Pin(ctx context.Context, opts Options) (*manifest.Lock, error) {
	r := newRun(opts)
	if err := r.execute(ctx, lockSteps); err != nil {
		return nil, err
	}
	lock, err := r.completeLock()
	if err != nil {
		return nil, err
	}
	return r.lock.Merge(lock), nil
}

// ErrUnsigned says that neither a signer nor Unsigned was given.
var ErrUnsigned = errors.New("building a bundle: no key to sign with")

func newRun(opts Options) *run {
	if opts.Progress == nil {
		opts.Progress = progress.Nop{}
	}
	opts.Jobs = max(opts.Jobs, 1)
	return &run{opts: opts, raw: map[string][]byte{}, images: map[string][]*pinnedImage{}, charts: map[string][]*pinnedChart{}, files: map[string][]*pinnedFile{},
		encoding: semaphore.NewWeighted(concurrentEncodings)}
}

func (r *run) execute(ctx context.Context, steps []step) error {
	if r.opts.CacheDir == "" {
		return errors.New("building: no cache folder given")
	}
	defer r.close()
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.run(r, ctx); err != nil {
			return err
		}
		if r.finished {
			return nil
		}
	}
	return nil
}

// chooseOut settles the output folder: bundles/ and the release's name, unless
// another was given.
func (r *run) chooseOut(context.Context) error {
	if r.opts.OutDir == "" {
		r.opts.OutDir = filepath.Join("bundles", r.selection.Name)
	}
	return nil
}

// open opens the store and the way to the registries.
func (r *run) open(context.Context) error {
	st, err := store.OpenWith(filepath.Clean(r.opts.CacheDir), store.Options{Encoder: archive.Encoder})
	if err != nil {
		return err
	}
	r.store = st
	return r.openMirror()
}

func (r *run) close() {
	if r.store != nil {
		_ = r.store.Close()
	}
}

// created is the time recorded in bundle.json: the one given, SOURCE_DATE_EPOCH,
// or the clock.
func (r *run) created() (string, error) {
	t := r.opts.Now
	if t.IsZero() {
		t = time.Now()
		if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
			sec, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return "", fmt.Errorf("reading SOURCE_DATE_EPOCH: %w", err)
			}
			t = time.Unix(sec, 0)
		}
	}
	return t.UTC().Format(time.RFC3339), nil
}
