// Package apt proves, with a real apt-get in clean Debian roots against `install
// serve`, that the packages which naru carries of Debian 12 can be installed with the
// vendor's signatures checked, in a network of nothing but the depot and with a clock
// that is two months ahead; that apt and `bundle verify` refuse what was changed; and
// that the closure holds whatever apt's own resolver picks. Its run.sh installs what
// it needs.
package apt
