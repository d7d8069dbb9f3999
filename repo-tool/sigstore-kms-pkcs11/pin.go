package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Variables of the environment. They win over the URI.
const (
	moduleVariable  = "TUFBOOT_PKCS11_MODULE"
	pinFileVariable = "TUFBOOT_PKCS11_PIN_FILE"
	pinVariable     = "TUFBOOT_PKCS11_PIN"
)

// modulePath returns the path of the token's library.
func modulePath(u keyURI, getenv func(string) string) (string, error) {
	if path := getenv(moduleVariable); path != "" {
		return path, nil
	}
	if u.modulePath != "" {
		return u.modulePath, nil
	}
	return "", errors.New("which library speaks to the token? Set " + moduleVariable + " to its path, or add ?module-path=PATH to the URI")
}

// userPIN returns the PIN from where the user has put it.
func userPIN(u keyURI, getenv func(string) string) (string, error) {
	path := getenv(pinFileVariable)
	if path == "" {
		if pin := getenv(pinVariable); pin != "" {
			return pin, nil
		}
		if u.pinSource == "" {
			return "", errors.New("the token wants a PIN: put it into a file and set " + pinFileVariable + ", or set " + pinVariable)
		}
		var err error
		if path, err = sourceFile(u.pinSource); err != nil {
			return "", err
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("PIN: %w", err)
	}
	pin := bytes.TrimRight(data, "\r\n")
	if len(pin) == 0 {
		return "", fmt.Errorf("PIN: the file %s is empty", path)
	}
	return string(pin), nil
}

// sourceFile returns the path in a pin-source, which RFC 7512 (section 2.4)
// leaves open: here it is a path, or a URI of scheme file. "|command" is not
// run.
func sourceFile(source string) (string, error) {
	path := source
	if strings.HasPrefix(source, "file:") {
		u, err := url.Parse(source)
		if err != nil || u.Host != "" {
			return "", errors.New("pin-source in the URI is not a local file")
		}
		path = u.Path
	}
	if !filepath.IsAbs(path) {
		return "", errors.New("pin-source in the URI is not the absolute path of a file")
	}
	return path, nil
}
