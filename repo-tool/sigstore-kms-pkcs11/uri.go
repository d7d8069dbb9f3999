package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// keyURI is what an RFC 7512 URI says about a key. What is "" or nil matches
// any.
type keyURI struct {
	token, serial, manufacturer, model string
	slotID                             *uint
	object                             string
	id                                 []byte

	modulePath, pinSource string
}

// parseURI parses a URI whose scheme sigstore has taken off already:
// token=release;object=timestamp?module-path=/usr/lib/a.so. Attributes that are
// not known are errors: left out, they would make another key match. No error
// quotes a value, which may be a PIN in the wrong place.
func parseURI(s string) (keyURI, error) {
	var u keyURI
	path, query, _ := strings.Cut(s, "?")
	if err := u.parse(path, ";", u.pathAttribute); err != nil {
		return u, err
	}
	if err := u.parse(query, "&", u.queryAttribute); err != nil {
		return u, err
	}
	if u.object == "" && u.id == nil {
		return u, errors.New("the URI names no key: add object=LABEL or id=%01")
	}
	return u, nil
}

// parse splits a part of the URI and sets each attribute.
func (u *keyURI) parse(part, separator string, set func(name, value string) error) error {
	seen := make(map[string]bool)
	for _, attribute := range strings.Split(part, separator) {
		if attribute == "" {
			continue
		}
		name, raw, found := strings.Cut(attribute, "=")
		if !found {
			return errors.New("the URI has an attribute without a value; write token=LABEL;object=LABEL")
		}
		if seen[name] {
			return fmt.Errorf("the URI has %s twice", name)
		}
		seen[name] = true
		value, err := url.PathUnescape(raw)
		if err != nil || value == "" {
			return fmt.Errorf("the value of %s in the URI is empty, or its percent-encoding is wrong", name)
		}
		if err := set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (u *keyURI) pathAttribute(name, value string) error {
	switch name {
	case "token":
		u.token = value
	case "serial":
		u.serial = value
	case "manufacturer":
		u.manufacturer = value
	case "model":
		u.model = value
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return errors.New("slot-id in the URI is not a number")
		}
		slot := uint(n)
		u.slotID = &slot
	case "object":
		u.object = value
	case "id":
		u.id = []byte(value)
	case "type":
		if value != "private" {
			return errors.New("type in the URI: only private keys can sign")
		}
	default:
		return unknownAttribute(name)
	}
	return nil
}

func (u *keyURI) queryAttribute(name, value string) error {
	switch name {
	case "module-path":
		u.modulePath = value
	case "pin-source":
		u.pinSource = value
	default:
		return unknownAttribute(name)
	}
	return nil
}

func unknownAttribute(name string) error {
	if name == "pin-value" {
		return errors.New("the URI holds the PIN (pin-value): put it into a file, and name that in " + pinFileVariable)
	}
	return fmt.Errorf("the URI has an attribute that is not supported: %s", name)
}
