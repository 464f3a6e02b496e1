package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/opencontainers/go-digest"

	"naru/internal/atomicfile"
	"naru/internal/cache"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror"
	"naru/pkg/scan"
)

// noDatabase leaves a database out.
const noDatabase = "none"

// scan scans and judges everything that the bundle will carry.
//
// Inputs: images, files and packages in the store, the policy. Outputs: the report
// and the SBOMs; a policy that the content fails ends the build with a
// *scan.PolicyError. Rerunning is safe: what was found in a layer is kept by its
// digest, the database is taken from the cache until its maker has a newer one.
func (r *run) scan(ctx context.Context) error {
	o := r.opts.Scan
	if o.Scanner == nil {
		r.opts.Progress.Note("WARNING: nothing is scanned; the bundle says so, and install refuses it unless the site allows that")
		return nil
	}
	at, err := r.created()
	if err != nil {
		return err
	}
	day, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return fmt.Errorf("reading the date of the build: %w", err)
	}
	database, err := r.database(ctx, manifest.DatabaseVulnerability, cmp.Or(o.Database, scan.DefaultDatabase))
	if err != nil {
		return err
	}
	java, err := r.database(ctx, manifest.DatabaseJava, cmp.Or(o.Java, scan.DefaultJavaDatabase))
	if err != nil {
		return err
	}
	r.opts.Progress.Start("scan", 0)
	r.survey, err = survey.Run(ctx, survey.Options{
		Blobs: r.content(), Index: r.index(), Specs: r.selection.Components,
		Scanner: o.Scanner, CacheDir: r.scanDir(), Jobs: cmp.Or(o.Jobs, runtime.NumCPU()), Database: database, Java: java,
		OnBlob: func(_ digest.Digest, size int64) { r.opts.Progress.Add(size) },
		Policy: o.Policy, VEX: o.VEX, At: day, Date: r.fixedCreated(at), SPDX: o.SPDX, Name: r.selection.Name,
	})
	if err != nil {
		return err
	}
	r.noteSurvey()
	return r.survey.Check()
}

// fixedCreated is the date of the build where something fixes it. SBOMs are dated
// with it and with no other: they are to be the same when a build runs again.
func (r *run) fixedCreated(created string) string {
	if r.opts.fixedDate() == "" {
		return ""
	}
	return created
}

// noteSurvey says in a few lines what came of the scan.
func (r *run) noteSurvey() {
	t := r.survey.Report.Totals
	r.opts.Progress.Note(fmt.Sprintf("scanned %d artifacts with %d packages: %d critical, %d high, %d medium, %d low; %d accepted, %d ruled out; verdict: %s",
		t.Artifacts, t.Packages, t.Open.Critical, t.Open.High, t.Open.Medium, t.Open.Low+t.Open.Unknown, t.Accepted.Sum(), t.NotAffected.Sum(), r.survey.Report.Verdict))
	for _, w := range r.survey.Report.Warnings {
		r.opts.Progress.Note("WARNING: " + w)
	}
	if r.survey.Report.Verdict == manifest.VerdictNotJudged {
		r.opts.Progress.Note("WARNING: nobody judged the scan: no --policy was given")
	}
}

// scanSummary is what bundle.json says of the scan.
func (r *run) scanSummary() manifest.Scan {
	if r.survey == nil {
		return manifest.Scan{Verdict: manifest.VerdictSkipped}
	}
	return r.survey.Report.Summary()
}

// surveyFiles are the scan's documents.
func (r *run) surveyFiles() []archive.File {
	if r.survey == nil {
		return nil
	}
	var out []archive.File
	for _, f := range r.survey.Files {
		out = append(out, archive.File{Name: f.Name, Data: f.Data})
	}
	return out
}

func (r *run) scanDir() string { return cache.ScanDir(r.store.Dir()) }

// database brings a database: from a layout on the disk, from what the bundle carries
// itself, from the cache, or from its registry.
func (r *run) database(ctx context.Context, name, from string) (*scan.Database, error) {
	if from == noDatabase && name == manifest.DatabaseJava {
		return nil, nil
	}
	if _, err := os.Stat(from); err == nil {
		return survey.FromLayout(ctx, from, name, r.scanDir())
	}
	d, ok := r.carried(from)
	if !ok {
		var err error
		if d, err = r.pullDatabase(ctx, name, from); err != nil {
			return nil, err
		}
	}
	db, err := scan.UnpackDatabase(ctx, r.store, name, d, r.scanDir())
	if err != nil {
		return nil, err
	}
	db.Reference = from
	return db, r.rememberDatabase(from, db)
}

// carried is the digest of an image that the bundle carries under ref.
func (r *run) carried(ref string) (digest.Digest, bool) {
	for _, c := range r.selection.Components {
		for _, img := range r.images[c.ID] {
			if img.spelled == ref {
				return img.Descriptor.Digest, true
			}
		}
	}
	return "", false
}

// pullDatabase brings a database into the store, or finds it there when its maker has
// no newer one.
func (r *run) pullDatabase(ctx context.Context, name, ref string) (digest.Digest, error) {
	if d, ok := r.recalledDatabase(ref); ok {
		return d, nil
	}
	r.opts.Progress.Start("fetch "+name+" database", 0)
	resolved, err := r.mirror.ResolveImage(ctx, mirror.Image{Ref: ref})
	if err != nil {
		return "", &DatabaseError{Name: name, Ref: ref, Err: err}
	}
	var requests []mirror.BlobRequest
	for _, d := range resolved.Blobs {
		requests = append(requests, mirror.BlobRequest{Name: resolved.Ref.Name(), Descriptor: d})
	}
	if err := r.mirror.FetchBlobs(ctx, requests); err != nil {
		return "", &DatabaseError{Name: name, Ref: ref, Err: err}
	}
	return resolved.Descriptor.Digest, r.store.Sync()
}

// DatabaseError says that a scanner's database could not be brought.
type DatabaseError struct {
	Name, Ref string
	Err       error
}

func (e *DatabaseError) Error() string {
	return fmt.Sprintf("fetching the %s database %q: %v", e.Name, e.Ref, e.Err)
}

func (e *DatabaseError) Unwrap() error { return e.Err }

// recalled is what the cache knows of a database's reference.
type recalled struct {
	Digest     digest.Digest `json:"digest"`
	NextUpdate time.Time     `json:"nextUpdate"`
}

func (r *run) recallPath(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return filepath.Join(r.scanDir(), "refs", hex.EncodeToString(sum[:16])+".json")
}

// recalledDatabase is the database that a reference named the last time, for as long
// as its maker promised to have no newer one.
func (r *run) recalledDatabase(ref string) (digest.Digest, bool) {
	data, err := os.ReadFile(r.recallPath(ref))
	if err != nil {
		return "", false
	}
	var k recalled
	if json.Unmarshal(data, &k) != nil || !time.Now().Before(k.NextUpdate) || !r.store.Has(k.Digest, -1) {
		return "", false
	}
	return k.Digest, true
}

func (r *run) rememberDatabase(ref string, db *scan.Database) error {
	data, err := json.Marshal(recalled{Digest: db.Digest, NextUpdate: db.NextUpdate})
	if err != nil {
		return fmt.Errorf("noting the database: %w", err)
	}
	path := r.recallPath(ref)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("noting the database: %w", err)
	}
	return atomicfile.Write(path, data, 0o600)
}
