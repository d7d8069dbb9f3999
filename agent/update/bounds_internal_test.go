package update

import (
	"testing"

	"tufboot/image"
	"tufboot/metadata"
	"tufboot/metadata/chunks"
	"tufboot/metadata/client"
)

// A map's memory grows with the payload, and an update's may not: longer ones are
// done without.
func TestLongMapsAreDoneWithout(t *testing.T) {
	for _, test := range []struct {
		length         int64
		used           *chunks.Map
		work, keepsMap bool
	}{
		{1 << 20, nil, true, true}, // that of 500 MB
		{maxKept, nil, true, true},
		{maxKept + 1, nil, true, false},
		{maxKept + 1, &chunks.Map{}, true, true}, // it is in memory as it is
		{maxMap, nil, true, false},
		{maxMap + 1, nil, false, false},
	} {
		files := []slotFile{{name: metadata.InitramfsFile, artifact: &metadata.Artifact{}}, {name: metadata.ManifestFile}}
		release := &metadata.Release{InitramfsChunks: &metadata.Artifact{Length: test.length}}
		n := New(Options{Disk: &image.Disk{}})
		done := n.planDelta(Plan{Transfer: new(client.Usage), resolved: &client.Resolved{Release: release}}, files)
		d := files[0].delta
		if d.on() != test.work {
			t.Errorf("a map of %d bytes: worked with: %v", test.length, d.on())
		}
		if d.on() {
			d.chunks = test.used
		}
		if d.kept() != test.keepsMap {
			t.Errorf("a map of %d bytes: kept: %v", test.length, d.kept())
		}
		done()
	}
}
