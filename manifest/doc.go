// Package manifest holds the documents that the parts of naru hand each other:
// Release, Component, Content (a user's own additions), Lock and Bundle, with
// strict codecs, validation and selection. It imports no other package of naru.
package manifest
