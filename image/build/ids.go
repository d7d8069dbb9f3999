package build

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// ids makes the GUIDs of one disk from a seed: each is a function of the seed
// and of what it is for.
type ids struct{ seed string }

// newIDs returns the GUIDs of seed, or random ones when it is empty.
func newIDs(seed string) ids {
	if seed == "" {
		seed = rand.Text()
	}
	return ids{seed: seed}
}

// uuid returns the GUID for purpose in the form of a random one (RFC 9562,
// version 4), lower case.
func (i ids) uuid(purpose string) string {
	b := sha256.Sum256([]byte(i.seed + "\x00" + purpose))
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
