//go:build gcpkms

package main

// Links Google Cloud KMS (gcpkms://) in.
import _ "github.com/sigstore/sigstore/pkg/signature/kms/gcp"
