package harbor_test

import (
	"testing"

	"naru/pkg/harbor"
)

func TestRobotNames(t *testing.T) {
	for name, want := range map[string]harbor.RobotName{
		"naru-busan-pull-1":            {Site: "busan", Role: harbor.RolePull, Serial: 1},
		"naru-pull-12":                 {Role: harbor.RolePull, Serial: 12}, // as they were called before
		"naru-pull-seed-1":             {Site: "pull", Role: harbor.RoleSeed, Serial: 1},
		"naru-a-pull-1-replicate-3":    {Site: "a-pull-1", Role: harbor.RoleReplicate, Serial: 3},
		"naru-naru-pull-2":             {Site: "naru", Role: harbor.RolePull, Serial: 2},
		"naru-x-naru-y-pull-2":         {Site: "x-naru-y", Role: harbor.RolePull, Serial: 2},
		"naru-xn.2.3e0b707e-pull-1":    {Site: "xn--3e0b707e", Role: harbor.RolePull, Serial: 1},
		"naru-a.3.b.2.c-pull-1":        {Site: "a---b--c", Role: harbor.RolePull, Serial: 1},
		"naru-key-0a1b2c3d-seed-99999": {Site: "key-0a1b2c3d", Role: harbor.RoleSeed, Serial: 99999},
	} {
		if got := want.String(); got != name {
			t.Errorf("%+v is called %q, want %q", want, got, name)
		}
		for _, prefix := range []string{"", "robot$", "naru-$", "quay+"} {
			if got, ok := harbor.ParseRobotName(prefix + name); !ok || got != want {
				t.Errorf("%q is read as %+v, %v", prefix+name, got, ok)
			}
		}
	}
	for _, name := range []string{"", "robot$seed", "robot$naru-", "robot$naru-pull", "robot$naru-pull-0", "robot$naru-pull-01", "robot$naru-pull--1", "robot$naru-push-1", "robot$naru--pull-1", "robot$naru-A-pull-1", "robot$naru-a.-pull-1"} {
		if got, ok := harbor.ParseRobotName(name); ok {
			t.Errorf("%q is read as %+v", name, got)
		}
	}
}

func TestNextSerial(t *testing.T) {
	robots := []harbor.Robot{{Name: "robot$naru-pull-7"}, {Name: "robot$naru-a-pull-3"}, {Name: "robot$naru-b-pull-5"}, {Name: "robot$naru-a-seed-9"}}
	for site, want := range map[string]int{"": 8, "a": 4, "b": 6, "c": 1} {
		if got := harbor.NextSerial(robots, site, harbor.RolePull); got != want {
			t.Errorf("site %q: %d, want %d", site, got, want)
		}
	}
}
