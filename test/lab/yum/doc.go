// Package yum makes a distribution of RPM packages for the lab: spec files written
// here, built with rpmbuild, signed with a key made for the run, and indexed with
// createrepo_c into repositories "base" and "updates" for two architectures. It
// holds what real distributions hold and closures trip over: rich dependencies
// with several branches, requirements on files that only filelists know, versioned
// provides, alternatives, epochs, a second architecture, module streams, and weak
// dependencies.
package yum
