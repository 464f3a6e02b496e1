package main

import (
	"errors"

	"naru/internal/build"
	"naru/internal/cache"
	"naru/internal/cli"
	"naru/internal/discover"
	"naru/internal/intake"
	"naru/internal/lint"
	"naru/internal/survey"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror"
	"naru/pkg/mirror/charts"
	"naru/pkg/mirror/store"
	"naru/pkg/scan"
	"naru/pkg/sign"
)

// judge maps the errors of building to exit codes; docs/cli.md lists them.
func judge(err error) (cli.Verdict, bool) {
	switch {
	case errors.Is(err, build.ErrUnsigned):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "give --key; bundle keygen makes one"}, true
	case cli.As[*mirror.NoSpaceError](err):
		return cli.Verdict{Code: cli.ExitSpace, Hint: "free space, or choose another disk with --cache or --out"}, true
	case cli.As[*archive.VolumeSizeError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "give a larger --volume-size"}, true
	case cli.As[*build.OccupiedError](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "give --out another folder, or --replace to put this bundle in its place"}, true
	case cli.As[*build.StrangerError](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "give --out another folder, or move the named volumes away"}, true
	case cli.As[*build.DamagedCacheError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "run the same command again: it fetches what was removed"}, true
	case cli.As[*build.PinConflictError](err):
		return cli.Verdict{Code: cli.ExitPin, Hint: "one of the two is out of date: mend the component, or pin anew with bundle lock --update"}, true
	case cli.As[*discover.MissingImagesError](err):
		return cli.Verdict{Code: cli.ExitIncomplete, Hint: "list each image under images of its component; what is no image, or never pulled, under notImages"}, true
	case cli.As[*lint.FailedError](err):
		return cli.Verdict{Code: cli.ExitDocument, Hint: "docs/lint.md says what each rule wants"}, true
	case cli.As[*discover.RenderError](err):
		return cli.Verdict{Code: cli.ExitDocument, Hint: "mend the step's values, manifests or patches: they are rendered with the facts of an invented site"}, true
	case cli.As[*charts.ProvenanceError](err):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "whoever packaged the chart has not signed it with a key of that keyring: find out why before leaving the keyring out"}, true
	case cli.As[*charts.NotFoundError](err):
		return cli.Verdict{Code: cli.ExitNetwork, Hint: "check the name and version; it is not there under them"}, true
	case cli.As[*charts.MetadataError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "ask whoever publishes the chart: it cannot be installed as it is"}, true
	case cli.As[*manifest.NoKeyringError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "put the keys into the release's keyrings folder, or into keyrings of a content file"}, true
	case cli.As[*build.NoInstallerError](err):
		return cli.Verdict{Code: cli.ExitError, Hint: "make release builds them; name their folder with --installers, or leave them out with --no-installer"}, true
	}
	for _, j := range []cli.Judge{judgeScan, judgePins, judgeCache, judgeExtract} {
		if v, ok := j(err); ok {
			return v, true
		}
	}
	return judgeKey(err)
}

// judgePins maps the errors of what is chosen and pinned.
func judgePins(err error) (cli.Verdict, bool) {
	switch {
	case cli.As[*manifest.ChoiceError](err), cli.As[*manifest.NoReleaseError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "bundle releases list shows the releases there are, bundle releases show RELEASE its profiles and components"}, true
	case cli.As[*mirror.MismatchError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "the source served other bytes than were pinned: find out why before pinning them anew"}, true
	case cli.As[*build.UpstreamSignatureError](err):
		if errors.Is(err, sign.ErrNoTrustedRoot) {
			return cli.Verdict{Code: cli.ExitTrust, Hint: "give --trusted-root: sigstore publishes it as trusted_root.json in its TUF repository"}, true
		}
		return cli.Verdict{Code: cli.ExitTrust, Hint: "upstream may have changed who signs: find out before the component's signedBy is changed"}, true
	case cli.As[*mirror.MovedTagError](err):
		return cli.Verdict{Code: cli.ExitPin, Hint: "if the move is wanted, pin it anew: bundle lock with the same --release or -f, --lock LOCK --update REF --out LOCK"}, true
	case cli.As[*mirror.MissingPlatformError](err):
		return cli.Verdict{Code: cli.ExitPin, Hint: "narrow --platform, or list the image's own platforms in its component"}, true
	case cli.As[*build.UnpinnedError](err):
		return cli.Verdict{Code: cli.ExitPin, Hint: "bundle lock pins them; then give the file with --lock"}, true
	}
	return cli.Verdict{}, false
}

// judgeScan maps the errors of scanning.
func judgeScan(err error) (cli.Verdict, bool) {
	switch {
	case cli.As[*scan.PolicyError](err):
		return cli.Verdict{Code: cli.ExitPolicy, Hint: "take a version without the finding, or accept it in the policy: an exception has a reason, an approver and a last day"}, true
	case errors.Is(err, scan.ErrNoScanner):
		return cli.Verdict{Code: cli.ExitError, Hint: "use a bundle built with GOEXPERIMENT=jsonv2 (make build does that), or --no-scan, which is recorded"}, true
	case cli.As[*build.DatabaseError](err):
		hint := "give --db a mirror, or an OCI layout in a folder or tar; --no-scan skips the scan, which is recorded"
		if cli.As[*mirror.MismatchError](err) {
			return cli.Verdict{Code: cli.ExitIntegrity, Hint: hint}, true
		}
		return cli.Verdict{Code: cli.ExitNetwork, Hint: hint}, true
	case cli.As[*survey.NoDatabaseError](err), cli.As[*scan.NotDatabaseError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "--db takes an OCI layout of the database, in a folder or tar, as oras copy --to-oci-layout makes it"}, true
	}
	return cli.Verdict{}, false
}

// judgeCache maps the errors of the cache.
func judgeCache(err error) (cli.Verdict, bool) {
	switch {
	case errors.Is(err, store.ErrBusy):
		return cli.Verdict{Code: cli.ExitLocked, Hint: "a build, a scan or a prune uses the cache: wait until it ends, or use another with --cache"}, true
	case cli.As[*cache.NotCacheError](err):
		return cli.Verdict{Code: cli.ExitUsage, Hint: "give the folder that builds were given with --cache"}, true
	case cli.As[*cache.DamagedError](err):
		return cli.Verdict{Code: cli.ExitIntegrity, Hint: "they are removed: the next build fetches them again; have the disk looked at"}, true
	}
	return cli.Verdict{}, false
}

// judgeKey maps the errors of private keys.
func judgeKey(err error) (cli.Verdict, bool) {
	switch {
	case errors.Is(err, sign.ErrPassword):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "COSIGN_PASSWORD, --password-file or the prompt gives the password of the key"}, true
	case errors.Is(err, sign.ErrNoPassword):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "set COSIGN_PASSWORD or give --password-file"}, true
	case errors.Is(err, sign.ErrPasswordsDiffer):
		return cli.Verdict{Code: cli.ExitUsage}, true
	case cli.As[*sign.KeyFormatError](err), cli.As[*sign.KeyTypeError](err), cli.As[*sign.UnsupportedRefError](err):
		return cli.Verdict{Code: cli.ExitTrust, Hint: "--key takes a file made by bundle keygen or cosign, env://NAME, or NAME://KEY with sigstore-kms-NAME installed"}, true
	}
	return cli.Verdict{}, false
}

// judgeExtract maps the errors of extracting.
func judgeExtract(err error) (cli.Verdict, bool) {
	if cli.As[*intake.OccupiedError](err) {
		return cli.Verdict{Code: cli.ExitError, Hint: "give --to an empty folder, or the one that this bundle was extracted to"}, true
	}
	return cli.Verdict{}, false
}
