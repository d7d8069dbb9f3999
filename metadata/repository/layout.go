package repository

import (
	"path"
	"strconv"

	"tufboot/metadata"
)

// workDir holds what must never be handed out: the lock and unfinished files.
const workDir = ".tufboot"

// timestampFile is the one metadata file without a version in its name.
const timestampFile = metadata.MetadataDir + "/" + Timestamp + ".json"

// versionedFile returns the path of one version of a role's metadata, relative
// to the repository (TUF specification, section 6.1).
func versionedFile(role string, version int64) string {
	return path.Join(metadata.MetadataDir, strconv.FormatInt(version, 10)+"."+role+".json")
}

// targetFile returns the path of a target's bytes, relative to the repository.
func targetFile(target, sha256 string) string {
	return path.Join(metadata.TargetsDir, metadata.HashedPath(target, sha256))
}
