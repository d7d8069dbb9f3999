//go:build awskms

package main

// Links AWS KMS (awskms://) in.
import _ "github.com/sigstore/sigstore/pkg/signature/kms/aws"
