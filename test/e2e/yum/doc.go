// Package yum proves, with a real dnf against `install serve`, that the packages
// which naru carries of an RPM distribution can be installed, on an empty host and
// on others, with the vendor's signatures checked; and that dnf and `bundle verify`
// refuse what was changed. Its run.sh installs what it needs.
package yum
