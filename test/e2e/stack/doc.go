// Package stack proves package naru/pkg/stack on a real API server with etcd and the
// controllers of Kubernetes; the kubelet is played. The tests are behind the build
// tag e2e; run.sh runs them and needs no privileges.
package stack
