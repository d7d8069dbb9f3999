package client

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// NoWait makes c try again without waiting, and counts how often it would have
// waited.
func (c *Client) NoWait() *int {
	waits := new(int)
	c.retry.sleep = func(ctx context.Context, _ time.Duration) error {
		*waits++
		return ctx.Err()
	}
	return waits
}

// Fault makes c ask f before each change of its folder.
func (c *Client) Fault(f func(op, name string) error) { c.store.fault = f }

// Bounds that tests check.
const (
	MaxBroken    = maxBroken
	MaxContent   = maxContent
	MaxKeptRoles = maxKeptRoles
)

// QuickSnapshot and QuickTargets report whether the quick ways accept a file.
func QuickSnapshot(t *trustedmetadata.TrustedMetadata, data []byte, kept bool) bool {
	return quickSnapshot(t, data, kept) != nil
}

// QuickTargets is described above.
func QuickTargets(t *trustedmetadata.TrustedMetadata, data []byte, role, parent string) bool {
	return quickTargets(t, data, role, parent) != nil
}

// UpdateSnapshot is what a refresh does with a snapshot.
func UpdateSnapshot(t *trustedmetadata.TrustedMetadata, data []byte, kept bool) (outdated bool, err error) {
	err = updateSnapshot(t, data, kept)
	return errors.Is(err, errOutdated), err
}

// TrustServer lets c accept the certificates of the test's own server.
func (c *Client) TrustServer(roots *x509.CertPool) {
	c.source.(*httpSource).client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
}
