package repository

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"tufboot/metadata/storage"
)

// pkcs11Scheme is the scheme of RFC 7512, whose URIs have no "//".
const pkcs11Scheme = "pkcs11:"

// schemePattern is stricter than RFC 3986, section 3.1: the scheme becomes part
// of a program's name, so that it must never hold a slash.
var schemePattern = regexp.MustCompile(`^([a-z][a-z0-9+.-]*):`)

// secretNames are attributes of a URI whose value is secret. RFC 7512 warns of
// pin-value; the others are what people make of it.
var secretNames = []string{"pin-value", "pin", "password", "passwd", "passphrase", "secret", "secret-key", "access-key"}

// readURI reads a file that holds one line, the URI of a key.
func readURI(path string) (string, error) {
	data, err := storage.ReadLocal(path, maxKeyFile)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	uri := strings.TrimSpace(string(data))
	if uri == "" {
		return "", fmt.Errorf("key %s: the file is empty, and should hold the URI of a key", path)
	}
	if _, err := checkURI(uri); err != nil {
		return "", fmt.Errorf("key %s: %w", path, err)
	}
	return uri, nil
}

// checkURI returns the scheme of a key's URI. It refuses what is not one, and
// one with a PIN or a password in it, which would be shown on screens and in
// logs; so its errors quote no URI.
func checkURI(uri string) (scheme string, err error) {
	const advice = "use a URI such as awskms:///alias/release or pkcs11:token=release;object=timestamp"
	match := schemePattern.FindStringSubmatch(uri)
	if match == nil {
		return "", refuse(ReasonKeyURI, advice, "not the URI of a key: it does not start with a scheme in lower case")
	}
	scheme = match[1]
	rest := uri[len(scheme)+1:]
	if name := secretIn(rest); name != "" {
		return "", refuse(ReasonKeyURI, "keep it in a file or in a variable, as docs/hardware-keys.md says",
			"the URI (%s:...) holds a secret: %s", scheme, name)
	}
	if strings.ContainsFunc(uri, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", refuse(ReasonKeyURI, advice, "not the URI of a key: more than one line, or control characters")
	}
	if scheme+":" != pkcs11Scheme && !strings.HasPrefix(rest, "//") {
		return "", refuse(ReasonKeyURI, advice, "not the URI of a key: there is no // after %s:", scheme)
	}
	if strings.TrimLeft(rest, "/") == "" {
		return "", refuse(ReasonKeyURI, advice, "not the URI of a key: nothing follows %s:", scheme)
	}
	return scheme, nil
}

// secretIn names the secret in what follows a URI's scheme, or returns "".
func secretIn(rest string) string {
	if authority, found := strings.CutPrefix(rest, "//"); found {
		authority, _, _ = strings.Cut(authority, "/")
		user, _, at := strings.Cut(authority, "@")
		if at && strings.Contains(user, ":") && !strings.Contains(user, "=") {
			return "a password before the @"
		}
	}
	parts := strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(";&?/", r) })
	for _, part := range parts {
		name, _, found := strings.Cut(part, "=")
		if name = strings.ToLower(name); found && slices.Contains(secretNames, name) {
			return name
		}
	}
	return ""
}

// sigstoreURI returns the URI in the form that sigstore takes, which always
// has "//" after the scheme.
func sigstoreURI(uri string) string {
	rest, found := strings.CutPrefix(uri, pkcs11Scheme)
	if !found || strings.HasPrefix(rest, "//") {
		return uri
	}
	return pkcs11Scheme + "//" + rest
}
