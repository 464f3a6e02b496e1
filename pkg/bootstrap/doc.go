// Package bootstrap turns bare Linux hosts into hosts of a cluster: it reaches them
// over SSH or runs on them, gathers what is known of them, finds beforehand what
// would go wrong, and writes and starts what a node needs.
//
// Commands are argument lists, never shell text made of values: over SSH each
// argument is quoted for the far shell, and the scripts of this package are fixed
// texts that get their values as arguments. Secrets go through standard input and
// files of mode 0600 only, and errors of commands marked secret leave their output out.
package bootstrap
