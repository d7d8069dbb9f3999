// Package client is the read side of a tufboot repository: it refreshes the
// signed metadata, resolves a channel to a release and streams the release's
// files, all verified.
//
// # Who is trusted
//
// Only the built-in root (Options.Root), which came with the running release.
// The server, every proxy on the way and the folder of kept metadata
// (Options.Dir) may be wrong or hostile; they can stop an update or delay it
// until the metadata expires, and nothing else. Signatures, thresholds,
// versions and hashes are checked by go-tuf's trustedmetadata. The order of the
// steps (TUF specification, section 5) is kept here and not by go-tuf's
// updater, because the updater replaces a newer kept root by the one it is
// given, stops for ever at a kept file that a crash cut short, does not fsync,
// knows no context, and holds whole targets in memory.
//
// # What is kept in Options.Dir
//
//	N.root.json                        every root ever accepted; never removed
//	timestamp.json snapshot.json targets.json role-NAME.json
//	                                   the newest accepted of each role; of the
//	                                   delegated ones those last used, bounded
//	clock.json                         the reference time of the last complete refresh
//	content/SHA256                     channel files and manifests, by hash
//	latest.json                        where the channel led, and under which metadata
//	*.broken                           what could not be used, for a look; bounded
//
// Kept files are read as if an attacker had written them. Each refresh walks
// from the built-in root through N+1.root.json, N+2.root.json, ..., each signed
// by the one before, taking each from Dir or else from the server, so a kept
// root can never lead where the built-in root does not. A kept file that is
// damaged, unreadable or signed by other keys is set aside and fetched again.
// A file is written, with fsync of file and folder, only after it was accepted
// and before anything that builds on it is asked for: after a crash at any
// moment the next refresh succeeds and remembers every version it had accepted.
//
// What keeps its place through that: a kept timestamp or snapshot that verifies
// under the newest root stays the floor below which no version is accepted.
// After a rotation of keys a file that the old keys signed no longer verifies
// and is set aside, which is the recovery from a fast-forward attack (section
// 5.3.11): numbers that a thief of a key set high do not outlive the key.
//
// # Time
//
// Metadata expires, which needs a clock that can be wrong. The reference time
// is the latest of: the machine's clock, the build time (Options.ClockFloor),
// and the reference time of the last complete refresh. So a machine that starts
// in 1970 does not accept frozen metadata. The last one is written only when
// every role was found unexpired at that time; a clock that jumped to 2099
// therefore never reaches the disk, and what is written is always earlier than
// every expiry that the repository had signed by then: a repository whose
// expiries do not move backwards is never locked out.
package client
