//go:build !cgo

package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

func main() {
	err := errors.New("this sigstore-kms-pkcs11 was built without cgo, and cannot load PKCS #11 modules: build it with CGO_ENABLED=1")
	fmt.Fprintln(os.Stderr, err)
	_ = handler.WriteErrorResponse(os.Stdout, err)
	os.Exit(1)
}
