// Package repository is the write side of tufboot: it makes, edits, signs and
// publishes a TUF repository, a folder of static files that any web server or
// object store can hand out.
//
// # Parties and files
//
// The release engineer holds the keys (a folder of PEM files, or any other
// [Signers]) and writes the folder. Nodes, mirrors and caches only read it, at
// any moment, without a lock.
//
//	metadata/N.root.json       who may sign what; clients walk N = 1, 2, 3, ...
//	metadata/N.targets.json    which role vouches for which targets
//	metadata/N.ROLE.json       channels, releases and its bins, channel-NAME:
//	                           every target's length and SHA-256
//	metadata/N.snapshot.json   which of these files are current
//	metadata/timestamp.json    which snapshot is current; the only file that is
//	                           ever replaced
//	targets/DIR/SHA256.NAME    the targets, under their hash
//	.tufboot/                  the lock, unfinished files, past states, and which
//	                           state was published last; never handed out
//
// # Order
//
// A reader starts from timestamp.json and reads only what that names, so
// everything that it names must be there first. One publication therefore
// writes, each file whole or not there (package atomicfile):
//
//  1. targets, under names that hold their hash: no reader knows them yet;
//  2. the state that is replaced, into .tufboot/history: it is known from now on
//     that nodes may hold it;
//  3. the delegated roles, N.targets.json, then N.snapshot.json, under numbers
//     never used before: no reader asks for them yet;
//  4. N.root.json, if it changed: readers see it at once, and it must verify
//     what timestamp.json names before and after step 5;
//  5. timestamp.json: from here readers see the new state, all of it;
//  6. .tufboot/published, which says so, and [Options].Remember with it.
//
// Before step 2 all is signed, and tried by [Options].Rehearse. Where there is no
// lock, of two publishers the one is told that finds a number taken in step 3 or 4,
// or another timestamp in step 5.
//
// A crash between any two writes leaves the old state for readers, and files
// that nothing names. The next command starts again from what timestamp.json
// names. It never writes over a numbered file that a crash left: it takes the
// next free number, so that a name, once written, never changes its content
// (which is what lets caches keep them for ever).
//
// # Changes of keys
//
// Where the new root does not verify what readers have, step 4 has a gap before
// it and after it. It is bridged by one more timestamp, written just before the
// root: signed by the old and by the new keys, as are the snapshot and the targets
// that it leads to, so that it holds under both roots. A reader is then served at
// every moment. Where the old keys are gone there is no bridge: a reader between
// the last two writes fails, and succeeds when it tries again. After a crash there
// [Repository.PublishEvent] with the same event completes the change, and so does
// [Repository.Refresh], which needs no event.
//
// Delegated roles need no bridge: which keys they have, and what they have signed,
// is switched by the one timestamp that names both.
//
// # Threat
//
// Whoever can write the folder, a mirror or the network between, but holds no
// keys, can at most withhold updates until the timestamp expires, and nodes
// then report it. What is read back from the folder is verified against its
// root before anything is built on it.
//
// An older timestamp.json that is put back verifies as well. The writer keeps in
// .tufboot/published which one it published last, and refuses to go on from an
// older one. Who can also write .tufboot can make old content current again: keep
// the publisher's folder writable by the publisher only.
package repository
