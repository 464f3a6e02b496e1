// Package harbor administers a Harbor registry (2.10 or later): its projects, quotas,
// robots, immutability and retention rules, schedules, and its replication to further
// Harbors. Content goes in through the registry protocol, by package push.
//
// A [Client] speaks TLS to one Harbor and verifies its certificate; there is no way to
// have that skipped. Every operation may be repeated: what is there already in the
// wanted form is left alone and reported as such.
//
// # Names
//
// An image keeps the name it has upstream. Its registry becomes the project, so that
// containerd can send every registry to a project of its own:
//
//	docker.io/library/nginx     project docker.io, repository library/nginx
//	localhost:5000/app          project localhost_5000, repository app
//	naru/charts/cilium          project naru, repository charts/cilium
//
// # Secrets
//
// The secret of a robot is shown by Harbor once. It is handed to a callback that keeps
// it, and to nothing else: it is in no returned value and in no error. When it cannot
// be kept the robot is removed again.
package harbor
