package install

import (
	"testing"

	"naru/manifest"
)

// TestPodLogsAreAskedFor: whole logs of pods, with whatever secrets they print, lay in an
// archive that is said to hold none.
func TestPodLogsAreAskedFor(t *testing.T) {
	for _, pods := range []bool{false, true} {
		c := clusterOf(scripted(func([]string) (string, int) { return "", 0 }), manifest.SiteHost{Name: "a", Address: "10.0.0.1"})
		found := false
		err := collect(t.Context(), c.Hosts[0], LogsOptions{Lines: 1, Pods: pods}, func(name string, _ []byte) error {
			found = found || name == "a/"+podLogs
			return nil
		})
		if err != nil || found != pods {
			t.Errorf("asked for %v: collected %v, %v", pods, found, err)
		}
	}
}
