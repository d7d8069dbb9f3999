package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"tufboot/metadata/repository"
	"tufboot/metadata/storage"
)

// bundleVerified is what verify prints of a bundle.
type bundleVerified struct {
	Bundle *repository.Bundled `json:"bundle"`
	Roots  int                 `json:"roots"` // how many, from each of which a new node gets there

	given bool // the root was named
}

// verifyBundle lets new nodes read a bundle: the metadata from each root, and the
// files once.
func verifyBundle(ctx context.Context, from storage.Reader, b *repository.Bundled, opts repository.VerifyOptions) (*bundleVerified, error) {
	result := &bundleVerified{Bundle: b, given: opts.Root != nil}
	roots := [][]byte{opts.Root}
	if !result.given {
		var err error
		if roots, err = repository.ReadRoots(ctx, from); err != nil {
			return nil, err
		}
	}
	for i, root := range roots {
		as := bundleReader{root: root, now: opts.Now(), metadataOnly: opts.MetadataOnly || i > 0}
		if err := readBundle(ctx, from, b, as); err != nil {
			return nil, err
		}
		result.Roots++
	}
	return result, nil
}

func (r *bundleVerified) text(w io.Writer) {
	var releases []string
	for _, release := range r.Bundle.Releases {
		releases = append(releases, fmt.Sprintf("%s (%s)", release.Version, release.Arch))
	}
	fmt.Fprintf(w, "verified: a bundle of channel %s with releases %s\n", r.Bundle.Channel, strings.Join(releases, ", "))
	switch {
	case r.given:
		fmt.Fprintln(w, "new nodes get there from the given root")
	case r.Roots == 1:
		fmt.Fprintln(w, "new nodes get there from root version 1")
	default:
		fmt.Fprintf(w, "new nodes get there from root versions 1 to %d\n", r.Roots)
	}
	fmt.Fprintln(w, "it is no whole repository: nothing was looked for besides")
}
