// Package e2e proves what naru promises, with the programs as they are built and
// with other people's tools: Debian's skopeo, containerd, zstd, curl, openssl and
// docker-registry, crane, cosign 2 and 3. The tests are behind the build tag e2e
// and need root on Linux, for network namespaces and small mounts; run.sh installs
// what they need and runs them.
//
// Nothing is skipped: a tool or privilege that is missing fails the test.
package e2e
