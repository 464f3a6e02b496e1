//go:build goexperiment.jsonv2

package trivy

import (
	"fmt"
	"os"
	"sync"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
)

// running keeps scans apart: Trivy has its database, its analysers and its scratch
// folder in package variables.
var running struct {
	sync.Mutex
	// removed says that a scan of this process has removed the scratch folder.
	removed bool
}

// makeScratch sees that Trivy's scratch folder is there: Trivy makes it once in a
// process, under a name that it keeps, and makes no other once it was removed. A
// folder of that name that was not there a moment ago belongs to somebody else. The
// caller holds running.
func makeScratch() error {
	dir := xos.TempDir()
	if !running.removed {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making the scanner's folder: %w", err)
	}
	running.removed = false
	return nil
}

// removeScratch removes Trivy's scratch folder, which only Trivy's own main would do
// otherwise. Of a scan that was stopped an analyser may still be at work, and leave a
// file in the folder while it is being emptied; once the folder is gone it makes
// nothing more. The caller holds running.
func removeScratch() {
	const attempts = 5
	for range attempts {
		if xos.Cleanup() == nil {
			running.removed = true
			return
		}
	}
}
