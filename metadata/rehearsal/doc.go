// Package rehearsal tries what is about to be published with the real client,
// before anybody can see it.
//
// Signatures and hashes that are right are not enough: nodes also remember. A
// node that holds timestamp version 50 refuses version 41 for ever, and one that
// holds a snapshot refuses every later one that lists a role less. Nothing in a
// repository tells of that, so it is tried: for each state that nodes may hold,
// a folder with kept metadata is made by letting the client refresh from the
// repository as it was then. Then the same client, with that folder, refreshes
// from each step of the publication in order, and resolves every channel for
// every architecture. It must succeed, end where a new node ends, and hold no
// version lower than before. New nodes are tried too, one from each version of
// root.json, because the root that a node is built with may be any of them.
//
// The client reads the store through an [net/http.RoundTripper]; there are no
// sockets. Channel files and manifests are read, payload is only looked at: it
// must be there with its length. So the cost follows the number of channels, not
// that of releases.
//
// # What is not tried, because it was
//
// This runs before every publication, so it leaves out what cannot end otherwise.
// A state that asks for no more than a newer one that is tried (lower versions, no
// role that the other lacks, under the same root) is left out; mostly the newest
// one remains, and after a backup was restored all of them. The folder of a state
// is put together from the repository's files, as the client would keep them.
// Older versions of root.json are tried when a new one is published. [Verify],
// which is nobody's haste, leaves out nothing and lets the client do everything.
//
// # What is a regression
//
// A publication is stopped if a node could go on before it and cannot after it.
// Where nodes refuse what is published now, because something has expired or a
// channel's file is missing, a publication that does not mend it is no worse:
// it is reported to the logger, and let through. Versions and signatures have no
// such grace.
//
// This is the only package that knows both sides, the one that signs and the one
// that verifies. Only repo-tool uses it.
package rehearsal
