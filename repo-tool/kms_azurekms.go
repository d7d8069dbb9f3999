//go:build azurekms

package main

// Links Azure Key Vault (azurekms://) in.
import _ "github.com/sigstore/sigstore/pkg/signature/kms/azure"
