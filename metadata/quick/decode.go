package quick

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// file is a metadata file with entries of one kind. Numbers, strings and hashes
// are decoded as go-tuf decodes them.
type file[E any] struct {
	Signed     signed[E]  `json:"signed"`
	Signatures []signedBy `json:"signatures"`
}

type signed[E any] struct {
	Type        string       `json:"_type"`
	SpecVersion string       `json:"spec_version"`
	Version     int64        `json:"version"`
	Expires     time.Time    `json:"expires"`
	Meta        map[string]E `json:"meta"`
	Targets     map[string]E `json:"targets"`
}

type signedBy struct {
	KeyID string       `json:"keyid"`
	Sig   tuf.HexBytes `json:"sig"`
}

// role is an entry of a snapshot.
type role struct {
	Version int64      `json:"version"`
	Length  int64      `json:"length"`
	Hashes  tuf.Hashes `json:"hashes"`
	Expires string     `json:"x-tufboot-expires"` // metadata.ExpiresField
}

// target is an entry of a targets role.
type target struct {
	Length int64      `json:"length"`
	Hashes tuf.Hashes `json:"hashes"`
}

// decode decodes a file that has nothing in it but the fields above.
func decode[E any](data []byte, f *file[E]) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(f); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows")
	}
	return nil
}

// decodeSnapshot returns nil for what is no plain snapshot.
func decodeSnapshot(data []byte) *tuf.Metadata[tuf.SnapshotType] {
	var f file[role]
	if decode(data, &f) != nil || f.Signed.Type != tuf.SNAPSHOT || f.Signed.Meta == nil || f.Signed.Targets != nil {
		return nil
	}
	s := tuf.SnapshotType{
		Type: f.Signed.Type, SpecVersion: f.Signed.SpecVersion, Version: f.Signed.Version, Expires: f.Signed.Expires,
		Meta: make(map[string]*tuf.MetaFiles, len(f.Signed.Meta)),
	}
	for name, e := range f.Signed.Meta {
		m := &tuf.MetaFiles{Version: e.Version, Length: e.Length, Hashes: e.Hashes}
		if e.Expires != "" {
			m.UnrecognizedFields = map[string]any{metadata.ExpiresField: e.Expires}
		}
		s.Meta[name] = m
	}
	return &tuf.Metadata[tuf.SnapshotType]{Signed: s, Signatures: f.signatures()}
}

// decodeTargets returns nil for what is no plain list of targets.
func decodeTargets(data []byte) *tuf.Metadata[tuf.TargetsType] {
	var f file[target]
	if decode(data, &f) != nil || f.Signed.Type != tuf.TARGETS || f.Signed.Targets == nil || f.Signed.Meta != nil {
		return nil
	}
	t := tuf.TargetsType{
		Type: f.Signed.Type, SpecVersion: f.Signed.SpecVersion, Version: f.Signed.Version, Expires: f.Signed.Expires,
		Targets: make(map[string]*tuf.TargetFiles, len(f.Signed.Targets)),
	}
	for name, e := range f.Signed.Targets {
		if len(e.Hashes) == 0 {
			return nil
		}
		t.Targets[name] = &tuf.TargetFiles{Length: e.Length, Hashes: e.Hashes, Path: name}
	}
	return &tuf.Metadata[tuf.TargetsType]{Signed: t, Signatures: f.signatures()}
}

func (f *file[E]) signatures() []tuf.Signature {
	list := make([]tuf.Signature, len(f.Signatures))
	for i, s := range f.Signatures {
		list[i] = tuf.Signature{KeyID: s.KeyID, Signature: s.Sig}
	}
	return list
}
