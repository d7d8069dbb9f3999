package repository

import (
	"path"
	"strconv"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/storage"
)

// timestampFile is the one metadata file without a version in its name.
const timestampFile = metadata.MetadataDir + "/" + Timestamp + ".json"

// historyDir holds past states; see history.go.
const historyDir = storage.WorkDir + "/history/"

// The largest metadata files that are read, in bytes: what clients accept.
const (
	maxMetadata  = 16 << 20
	maxTimestamp = 16 << 10
)

// maxKeyFile is the largest file with a key that is read, in bytes: one of RSA has
// less than a hundredth of it.
const maxKeyFile = 1 << 20

// The roles that targets delegates to in a repository made by Create.
const (
	// Releases vouches for the files of all releases.
	Releases = "releases"
	// Channels vouches for the channels that have no keys of their own.
	Channels = "channels"
	// channelPrefix starts the name of a channel's own role. A prefix, because
	// a channel may be called "timestamp".
	channelPrefix = "channel-"
)

// Paths that are delegated (TUF specification, section 4.5, PATHPATTERN).
const (
	releasesPaths = "releases/*/*/*"
	channelsPaths = "channels/*.json"
)

// ChannelRole returns the name of the role of a channel with keys of its own.
func ChannelRole(channel string) string { return channelPrefix + channel }

// versionedFile returns the path of one version of a role's metadata, relative
// to the repository (TUF specification, section 6.1).
func versionedFile(role string, version int64) string {
	return path.Join(metadata.MetadataDir, strconv.FormatInt(version, 10)+"."+role+".json")
}

// targetFile returns the path of a target's bytes, relative to the repository.
func targetFile(target, sha256 string) string {
	return path.Join(metadata.TargetsDir, metadata.HashedPath(target, sha256))
}

// metaName returns the name under which timestamp and snapshot list a role.
func metaName(role string) string { return role + ".json" }

// checkRole reports whether name can name a delegated role: it becomes part of
// a file name.
func checkRole(name string) error {
	if err := metadata.CheckTarget(name); err != nil || strings.Contains(name, "/") || isTopLevel(name) {
		return invalid("%q cannot name a delegated role", name)
	}
	return nil
}

func isTopLevel(role string) bool {
	return role == Root || role == Targets || role == Snapshot || role == Timestamp
}
