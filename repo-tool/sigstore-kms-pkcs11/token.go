//go:build cgo

package main

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// errNoObject says that the token holds no such key, or hides it until login.
var errNoObject = errors.New("not on the token")

// token is an open session with the token that a URI names.
type token struct {
	module  *pkcs11.Ctx
	session pkcs11.SessionHandle
	info    pkcs11.TokenInfo
	uri     keyURI
	pin     string // once logged in
}

// openToken loads the module and opens a session; write says whether a key
// shall be made.
func openToken(uri keyURI, path string, write bool) (*token, error) {
	module := pkcs11.New(path)
	if module == nil {
		return nil, fmt.Errorf("the PKCS #11 module %s cannot be loaded: is it there, and for this architecture?", path)
	}
	t := &token{module: module, uri: uri}
	if err := module.Initialize(); err != nil {
		module.Destroy()
		return nil, fmt.Errorf("the PKCS #11 module %s does not start: %w", path, err)
	}
	slot, err := t.findSlot()
	if err == nil {
		flags := uint(pkcs11.CKF_SERIAL_SESSION)
		if write {
			flags |= pkcs11.CKF_RW_SESSION
		}
		t.session, err = module.OpenSession(slot, flags)
	}
	if err != nil {
		t.unload()
		return nil, err
	}
	return t, nil
}

// close ends the session, and with it the login.
func (t *token) close() {
	_ = t.module.CloseSession(t.session)
	t.unload()
}

func (t *token) unload() {
	_ = t.module.Finalize()
	t.module.Destroy()
}

// findSlot returns the slot of the one token that the URI matches.
func (t *token) findSlot() (uint, error) {
	slots, err := t.module.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("list the tokens: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		info, err := t.module.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 || !t.uri.matches(slot, info) {
			continue
		}
		found, t.info = append(found, slot), info
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("none of the %d tokens here is the one of the URI (token %q): is it plugged in?", len(slots), t.uri.token)
	}
	return 0, fmt.Errorf("%d tokens match the URI: add its serial=NUMBER", len(found))
}

func (u keyURI) matches(slot uint, info pkcs11.TokenInfo) bool {
	return (u.token == "" || u.token == info.Label) &&
		(u.serial == "" || u.serial == info.SerialNumber) &&
		(u.manufacturer == "" || u.manufacturer == info.ManufacturerID) &&
		(u.model == "" || u.model == info.Model) &&
		(u.slotID == nil || *u.slotID == slot)
}

// login gives the token its PIN, if it wants one.
func (t *token) login(pin func() (string, error)) error {
	if t.info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	text, err := pin()
	if err != nil {
		return err
	}
	t.pin = text
	err = t.module.Login(t.session, pkcs11.CKU_USER, text)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil
	}
	return explain(err)
}

// explain adds to an error of the token what the user needs to know.
func explain(err error) error {
	var code pkcs11.Error
	if !errors.As(err, &code) {
		return err
	}
	switch uint(code) {
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE:
		return fmt.Errorf("the PIN is wrong; tokens lock themselves after some wrong ones: %w", err)
	case pkcs11.CKR_PIN_LOCKED:
		return fmt.Errorf("the token has locked itself after too many wrong PINs: %w", err)
	case pkcs11.CKR_USER_PIN_NOT_INITIALIZED:
		return fmt.Errorf("the token has no user PIN yet: %w", err)
	case pkcs11.CKR_MECHANISM_INVALID:
		return fmt.Errorf("the token does not know the algorithm: %w", err)
	}
	return err
}

// find returns the one object of a class that the URI names.
func (t *token) find(class uint) (pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if t.uri.object != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.uri.object))
	}
	if t.uri.id != nil {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, t.uri.id))
	}
	if err := t.module.FindObjectsInit(t.session, template); err != nil {
		return 0, fmt.Errorf("look for the key: %w", err)
	}
	found, _, err := t.module.FindObjects(t.session, 2)
	if end := t.module.FindObjectsFinal(t.session); err == nil {
		err = end
	}
	if err != nil {
		return 0, fmt.Errorf("look for the key: %w", err)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, errNoObject
	}
	return 0, errors.New("more than one key on the token matches the URI: add its id=%01")
}

// attribute returns one attribute of an object.
func (t *token) attribute(object pkcs11.ObjectHandle, name uint) ([]byte, error) {
	values, err := t.module.GetAttributeValue(t.session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(name, nil)})
	if err != nil {
		return nil, fmt.Errorf("attribute %#x of the key: %w", name, err)
	}
	return values[0].Value, nil
}
