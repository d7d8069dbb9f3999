package quick_test

import (
	"testing"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/quick"
)

// BenchmarkSnapshot reads and verifies a snapshot of 273 roles, as a repository of
// 10,000 releases has, with this package and with go-tuf.
func BenchmarkSnapshot(b *testing.B) {
	const roles = 273
	ids, signers := keys(b)
	data := sign(b, snapshot(roles), signers, "a")
	by := root(ids, tuf.SNAPSHOT, 1, "a")
	b.Run("by=quick", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if quick.Read[tuf.SnapshotType](by, tuf.SNAPSHOT, data) == nil {
				b.Fatal("not read")
			}
		}
	})
	b.Run("by=go-tuf", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if byTUF[tuf.SnapshotType](by, tuf.SNAPSHOT, data) == nil {
				b.Fatal("not read")
			}
		}
	})
}
