// Package remote speaks to registries and file servers: it knows where a host's
// content is to be had at this site (mirrors, prefixes), whom to trust, which
// credentials to show, when to ask again and when to give up.
//
// A [Client] serves three ways. [Client.Get] and [Client.Blob] open content at an
// offset, so that an interrupted download can go on. [Client.Repository] is an
// oras-go repository. [Client.Do] sends any request, authenticated, and makes the
// Client what oras-go and package push call a client.
//
// Requests are sent again after overload (429, 503), errors of servers and
// gateways, and broken connections; never after refusals, nor when TLS does not
// verify. Parts of uploads are left to the uploader, who knows what arrived. A body
// that breaks off is an error for which [IsTemporary] holds: the caller asks for
// the rest. Nothing waits forever: answers must begin within Options.ResponseTimeout,
// and bodies, in either direction, must move within Options.IdleTimeout.
//
// HTTP/1.1 is spoken on purpose: each transfer has a connection of its own, so that
// a broken one breaks one transfer and no window is shared.
//
// Errors hold no credentials and no query of a URL, which may be a signature.
package remote
