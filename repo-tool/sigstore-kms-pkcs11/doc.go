// Command sigstore-kms-pkcs11 signs with keys in PKCS #11 tokens: smart cards,
// USB tokens, HSMs, and SoftHSM2. It is a plugin program as sigstore defines
// them (github.com/sigstore/sigstore/pkg/signature/kms/cliplugin): repo-tool and
// cosign run it, once for every question, when a key's URI starts with
// pkcs11://. It is built with cgo, because PKCS #11 is an interface of C
// libraries; so it is a program of its own, and repo-tool stays static.
//
// A key is named by a URI of RFC 7512: the path attributes token, serial,
// manufacturer, model, slot-id, object, id and type, and the query attributes
// module-path and pin-source. The module (the token's library) and the PIN come
// from, in this order:
//
//	TUFBOOT_PKCS11_MODULE, module-path
//	TUFBOOT_PKCS11_PIN_FILE, TUFBOOT_PKCS11_PIN, pin-source (a file)
//
// A PIN in the URI itself (pin-value) is refused: URIs are shown and logged.
// ECDSA on P-256, Ed25519 (where the token knows it) and RSA-PSS keys sign, the
// first and the last with SHA-256: what TUF clients verify. A wrong PIN is tried
// once for every question and never again, because tokens count.
package main
