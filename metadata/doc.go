// Package metadata holds what the two sides of tufboot share: the release
// manifest, the channel file, the names of the targets that carry them, and
// where a target's bytes lie in a repository.
//
// It signs nothing and fetches nothing. Package metadata/repository is the
// write side, package metadata/client the read side; neither imports the other.
package metadata
