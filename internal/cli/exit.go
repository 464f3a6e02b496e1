package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"syscall"

	"naru/internal/intake"
	"naru/manifest"
	"naru/pkg/archive"
	"naru/pkg/mirror/remote"
	"naru/pkg/sign/verify"
)

// Exit codes. They are a contract, listed in docs/cli.md.
const (
	ExitOK          = 0
	ExitError       = 1   // anything not listed below
	ExitUsage       = 2   // the command line cannot be understood
	ExitDocument    = 3   // a document is wrong: release, content file, lock
	ExitPin         = 4   // not pinned, a tag moved, a platform is missing
	ExitIntegrity   = 5   // bytes are not what they should be, or are missing
	ExitTrust       = 6   // nobody trusted signed it, or no key to check with
	ExitNetwork     = 7   // a registry or file server failed or refused
	ExitSpace       = 8   // the disk cannot hold it
	ExitVersion     = 9   // written by a newer version of naru
	ExitIncomplete  = 10  // a chart or manifest names an image that nobody lists
	ExitPolicy      = 11  // the scan's policy does not let it in, or nobody scanned it
	ExitPreflight   = 20  // something stands against an installation; nothing was changed
	ExitHost        = 21  // a host cannot be reached, is another, or refuses
	ExitDeadline    = 22  // something did not become ready in time
	ExitLocked      = 23  // another run works on the site, or uses the cache
	ExitDrift       = 24  // a site is not as its file says
	ExitSealed      = 25  // something leads out of a sealed site
	ExitInterrupted = 130 // stopped by a signal; run again to go on
)

// Verdict is how an error ends the program, and one line on what to do about it.
type Verdict struct {
	Code int
	Hint string
}

// Judge maps an error that it knows to a verdict. Each program has one for the
// errors that only it can meet.
type Judge func(error) (Verdict, bool)

// judge asks the program's own judge and then the common ones.
func judge(err error, own Judge) Verdict {
	for _, j := range []Judge{own, judgeCommand, judgeTrust, judgeIntegrity, judgeDocument, judgeWorld} {
		if v, ok := j(err); ok {
			return v
		}
	}
	return Verdict{ExitError, ""}
}

// NetworkHint is what to do about a registry or file server that failed.
func NetworkHint(err error) string {
	var status *remote.StatusError
	var authority x509.UnknownAuthorityError
	switch {
	case errors.As(err, &authority):
		return "the server's certificate is signed by nobody this machine trusts: give its authority with --ca-file"
	case As[*remote.AuthError](err), errors.As(err, &status) && (status.Status == http.StatusUnauthorized || status.Status == http.StatusForbidden):
		return "log in first (the Docker config and its helpers are read), or ask for the right to do this"
	case errors.As(err, &status) && status.Status == http.StatusNotFound:
		return "check the name and version; it is not there under them"
	}
	return "what arrived is kept: run the same command again to go on from there"
}

// As tells whether err is, or wraps, an E.
func As[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func judgeCommand(err error) (Verdict, bool) {
	switch {
	case As[*UsageError](err), As[*manifest.ChoiceError](err), As[*manifest.NoReleaseError](err):
		return Verdict{ExitUsage, "--help lists the flags and examples"}, true
	case As[*manifest.VersionError](err):
		return Verdict{ExitVersion, "use a newer naru; for a bundle, the install program that lies beside it"}, true
	}
	return Verdict{}, false
}

func judgeTrust(err error) (Verdict, bool) {
	switch {
	case As[*intake.UnscannedError](err):
		return Verdict{ExitPolicy, "have it built again with a scan, or take it with --allow-unscanned once somebody answers for that"}, true
	case errors.Is(err, intake.ErrOtherBundle), As[*verify.PredicateError](err):
		return Verdict{ExitTrust, "somebody put other signatures on the medium: take the bundle from its source again"}, true
	case errors.Is(err, intake.ErrSumsUnsigned):
		return Verdict{ExitTrust, "SHA256SUMS.sig was removed from the medium: do not run anything that lies on it"}, true
	case errors.Is(err, intake.ErrNoTrust), errors.Is(err, verify.ErrNoKey):
		return Verdict{ExitTrust, "give the signer's public key with --key, or put it into the trust folder"}, true
	case As[*verify.NoMatchError](err):
		return Verdict{ExitTrust, "compare the fingerprint on the approval form with the key's; do not use this bundle if they differ"}, true
	case As[*verify.DigestError](err):
		return Verdict{ExitTrust, "bundle.json is not the document that was signed: take the bundle from its medium again"}, true
	case As[*verify.RevokedError](err):
		return Verdict{ExitTrust, "the key that signed this was revoked: ask for a bundle signed with a current one"}, true
	case As[*verify.MalformedError](err):
		return Verdict{ExitTrust, "the signature or key is damaged or is none: fetch the medium's copy again"}, true
	}
	return Verdict{}, false
}

func judgeIntegrity(err error) (Verdict, bool) {
	switch {
	case As[*archive.MissingVolumeError](err):
		return Verdict{ExitIntegrity, "put all volumes into one folder, or name every folder that holds some"}, true
	case As[*archive.DuplicateVolumeError](err), As[*archive.ForeignVolumeError](err):
		return Verdict{ExitIntegrity, "keep the volumes of one bundle, once each, in the folder"}, true
	case As[*archive.NotABundleError](err):
		return Verdict{ExitIntegrity, "name a volume (.tar.zst) or the folder that holds the volumes"}, true
	case As[*archive.DamagedError](err):
		return Verdict{ExitIntegrity, "copy the named volume from the medium again and check it against SHA256SUMS"}, true
	case As[*verify.SumsError](err), As[*verify.FileError](err):
		return Verdict{ExitIntegrity, ""}, true
	}
	return Verdict{}, false
}

func judgeDocument(err error) (Verdict, bool) {
	if As[*manifest.SourceError](err) {
		return Verdict{ExitDocument, ""}, true
	}
	return Verdict{}, false
}

func judgeWorld(err error) (Verdict, bool) {
	switch {
	case errors.Is(err, context.Canceled):
		return Verdict{ExitInterrupted, ""}, true
	case remote.IsNetwork(err):
		return Verdict{ExitNetwork, NetworkHint(err)}, true
	case errors.Is(err, syscall.ENOSPC):
		return Verdict{ExitSpace, "free space on the disk that is named, and run the same command again"}, true
	case errors.Is(err, fs.ErrPermission):
		return Verdict{ExitError, "another user owns the file or folder"}, true
	}
	return Verdict{}, false
}
