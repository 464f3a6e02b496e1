package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"naru/internal/build"
	"naru/internal/cli"
	"naru/internal/progress"
	"naru/manifest"
	"naru/pkg/mirror/remote"
)

// sourceFlags choose content and say how it is reached; build and lock share them.
type sourceFlags struct {
	release   string
	contents  []string
	profile   string
	with      []string
	without   []string
	platforms []string
	distros   []string
	lock      string
	cache     string
	maps      []string
	caFiles   []string
	jobs      int
	progress  cli.ProgressFlags
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.release, "release", "", "release to take: an embedded one (see bundle releases list) or a folder")
	fl.StringArrayVarP(&f.contents, "file", "f", nil, "content file that adds to the release or stands alone (may be repeated)")
	fl.StringVar(&f.profile, "profile", "", "profile of the release (default: the release's own default)")
	fl.StringSliceVar(&f.with, "with", nil, "further components, by id")
	fl.StringSliceVar(&f.without, "without", nil, "components to leave out, by id")
	fl.StringSliceVar(&f.platforms, "platform", nil, "platforms to carry, as in linux/amd64 (default: those of the release)")
	fl.StringSliceVar(&f.distros, "distro", nil, "distributions to carry OS packages for, as in debian-12 (default: those of the release and content files)")
	fl.StringVar(&f.lock, "lock", "", "lock file put over the one the release ships")
	fl.StringVar(&f.cache, "cache", "", "folder for fetched content (default: naru in the user's cache folder)")
	fl.StringArrayVar(&f.maps, "registry-map", nil, "fetch HOST from elsewhere: HOST=MIRROR[/PREFIX] (may be repeated)")
	fl.StringArrayVar(&f.caFiles, "ca-file", nil, "PEM file of a further certificate authority to trust (may be repeated)")
	fl.IntVarP(&f.jobs, "jobs", "j", 8, "concurrent transfers")
	f.progress.Add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("release", completeReleases)
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.MarkFlagFilename("lock", "yaml", "yml")
	_ = cmd.MarkFlagFilename("ca-file", "pem", "crt")
	_ = cmd.MarkFlagDirname("cache")
}

func completeReleases(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, err := manifest.ReleaseNames(manifest.EmbeddedReleases())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// options turns the flags into build options; obs is told of retries.
func (f *sourceFlags) options(obs progress.Observer) (build.Options, error) {
	if f.release == "" && len(f.contents) == 0 {
		return build.Options{}, cli.Usagef("nothing to build: give --release NAME, -f FILE, or both")
	}
	if f.jobs < 1 {
		return build.Options{}, cli.Usagef("--jobs %d: want at least 1", f.jobs)
	}
	opts := build.Options{
		ContentFiles: f.contents,
		Select:       manifest.SelectOptions{Profile: f.profile, With: f.with, Without: f.without, Platforms: f.platforms, Distributions: f.distros},
		LockFile:     f.lock,
		Jobs:         f.jobs,
		Version:      cli.Version(),
		RegistryMap:  map[string]string{},
		Progress:     obs,
	}
	opts.Releases, opts.Release = releaseFS(f.release)
	for _, m := range f.maps {
		mapping, err := remote.ParseMapping(m)
		if err != nil {
			return build.Options{}, &cli.UsageError{Err: fmt.Errorf("--registry-map: %w", err)}
		}
		opts.Remote.Map = append(opts.Remote.Map, mapping)
		host, mirror, _ := strings.Cut(m, "=")
		opts.RegistryMap[host] = mirror
	}
	opts.Remote.CAFiles = f.caFiles
	opts.Remote.PerHost = f.jobs
	opts.Remote.UserAgent = fmt.Sprintf("naru-bundle/%s (%s)", cli.Version(), runtime.GOOS)
	opts.Remote.OnRetry = func(r remote.Retry) {
		obs.Note(fmt.Sprintf("%s: attempt %d: %v; again in %s", r.Host, r.Attempt, r.Err, r.Wait))
	}
	var err error
	opts.CacheDir, err = cacheDir(f.cache)
	return opts, err
}

// cacheDir is the folder that builds keep content in, given or not.
func cacheDir(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w (name one with --cache)", err)
	}
	return filepath.Join(dir, "naru"), nil
}

// releaseFS is where the named release lies: a folder when name has a separator,
// else the embedded ones.
func releaseFS(name string) (fs.FS, string) {
	if strings.ContainsRune(name, os.PathSeparator) {
		clean := filepath.Clean(name)
		return os.DirFS(filepath.Dir(clean)), filepath.Base(clean)
	}
	return manifest.EmbeddedReleases(), name
}
