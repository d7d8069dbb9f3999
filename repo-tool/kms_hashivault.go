//go:build hashivault

package main

// Links HashiCorp Vault and OpenBao (hashivault://, openbao://) in.
import _ "github.com/sigstore/sigstore/pkg/signature/kms/hashivault"
