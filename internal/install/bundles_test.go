package install

import (
	"errors"
	"testing"

	"naru/internal/intake"
	"naru/internal/progress"
)

func TestPruneLeavesWhatIsInUse(t *testing.T) {
	list := []DepotBundle{
		{Host: "a", Bundle: "sha256:01"}, {Host: "a", Bundle: "sha256:02"}, {Host: "a", Bundle: "sha256:03"}, {Host: "a", Bundle: "sha256:04"},
		{Host: "b", Bundle: "sha256:01"},
	}
	// Two were applied together; a newer one was added and not applied.
	applied := []string{"sha256:02", "sha256:03"}
	gone, err := prunable(list, nil, applied)
	if err != nil || len(gone) != 1 || gone[0] != list[0] {
		t.Errorf("removes %v, %v", gone, err)
	}
	for _, name := range []string{"02", "sha256:03", "04"} {
		var used *InUseError
		if _, err := prunable(list, []string{name}, applied); !errors.As(err, &used) {
			t.Errorf("%s: %v, want an *InUseError", name, err)
		}
	}
	// A site that wrote nothing down yet keeps the newest.
	if gone, err := prunable(list, nil, nil); err != nil || len(gone) != 3 {
		t.Errorf("removes %v, %v", gone, err)
	}
}

// TestUnscannedIsNotAdded: the depot would not start any more.
func TestUnscannedIsNotAdded(t *testing.T) {
	o := ApplyOptions{Intake: intake.Options{Paths: []string{newBundle(t, "")}, SkipVerify: true}, StateDir: t.TempDir(), Progress: progress.Nop{}}
	var unscanned *intake.UnscannedError
	if _, err := AddBundles(t.Context(), o); !errors.As(err, &unscanned) {
		t.Errorf("%v, want an *UnscannedError", err)
	}
}
