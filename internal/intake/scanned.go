package intake

import (
	"fmt"

	"naru/manifest"
)

// UnscannedError says that nobody scanned a bundle and the site does not allow that.
type UnscannedError struct{ Bundle string }

func (e *UnscannedError) Error() string {
	return fmt.Sprintf("taking in bundle %s: it was never scanned", e.Bundle)
}

// CheckScanned is an *UnscannedError for a bundle that was built without a scan,
// unless allowed says that the site takes such bundles.
func (b *Bundle) CheckScanned(allowed bool) error {
	if allowed || b.Bundle().Scan.Verdict != manifest.VerdictSkipped {
		return nil
	}
	return &UnscannedError{Bundle: b.BundleDigest().String()}
}

// CheckAllScanned is CheckScanned of each.
func CheckAllScanned(list []*Bundle, allowed bool) error {
	for _, b := range list {
		if err := b.CheckScanned(allowed); err != nil {
			return err
		}
	}
	return nil
}
