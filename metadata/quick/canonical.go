package quick

import (
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// ErrNotPlain says that metadata has something in it that this package does not
// know.
var ErrNotPlain = errors.New("not plain metadata")

// Payload returns what is signed of a snapshot or a targets role: the signed part
// in canonical JSON (TUF specification, section 4.1). It is what go-tuf signs and
// verifies, byte for byte. An error is [ErrNotPlain].
func Payload[T tuf.Roles](md *tuf.Metadata[T]) ([]byte, error) {
	switch md := any(md).(type) {
	case *tuf.Metadata[tuf.SnapshotType]:
		return snapshotPayload(&md.Signed)
	case *tuf.Metadata[tuf.TargetsType]:
		return targetsPayload(&md.Signed)
	}
	return nil, ErrNotPlain
}

// In canonical JSON the fields of an object are sorted by name.

func snapshotPayload(s *tuf.SnapshotType) ([]byte, error) {
	if len(s.UnrecognizedFields) > 0 || s.Meta == nil {
		return nil, ErrNotPlain
	}
	c := &canonical{buf: make([]byte, 0, 256+192*len(s.Meta))}
	c.head(s.Type, s.Expires)
	c.raw(`,"meta":{`)
	for i, name := range slices.Sorted(maps.Keys(s.Meta)) {
		c.name(i, name)
		c.role(s.Meta[name])
	}
	c.raw(`},"spec_version":`).text(s.SpecVersion).raw(`,"version":`).number(s.Version).raw(`}`)
	return c.result()
}

func targetsPayload(t *tuf.TargetsType) ([]byte, error) {
	if len(t.UnrecognizedFields) > 0 || t.Delegations != nil || t.Targets == nil {
		return nil, ErrNotPlain
	}
	c := &canonical{buf: make([]byte, 0, 256+192*len(t.Targets))}
	c.head(t.Type, t.Expires)
	c.raw(`,"spec_version":`).text(t.SpecVersion).raw(`,"targets":{`)
	for i, name := range slices.Sorted(maps.Keys(t.Targets)) {
		c.name(i, name)
		c.target(t.Targets[name])
	}
	c.raw(`},"version":`).number(t.Version).raw(`}`)
	return c.result()
}

// canonical is canonical JSON in the making.
type canonical struct {
	buf []byte
	bad bool // there is something in it that this package does not know
}

func (c *canonical) result() ([]byte, error) {
	if c.bad {
		return nil, ErrNotPlain
	}
	return c.buf, nil
}

func (c *canonical) head(kind string, expires time.Time) {
	c.raw(`{"_type":`).text(kind).raw(`,"expires":`)
	stamp, err := expires.MarshalJSON()
	c.bad = c.bad || err != nil
	c.buf = append(c.buf, stamp...)
}

func (c *canonical) role(m *tuf.MetaFiles) {
	if m == nil {
		c.bad = true
		return
	}
	c.raw(`{`)
	if len(m.Hashes) > 0 {
		c.raw(`"hashes":`).hashes(m.Hashes).raw(`,`)
	}
	if m.Length != 0 {
		c.raw(`"length":`).number(m.Length).raw(`,`)
	}
	c.raw(`"version":`).number(m.Version)
	if len(m.UnrecognizedFields) > 0 {
		expires, ok := m.UnrecognizedFields[metadata.ExpiresField].(string)
		c.bad = c.bad || !ok || len(m.UnrecognizedFields) > 1
		c.raw(`,"` + metadata.ExpiresField + `":`).text(expires)
	}
	c.raw(`}`)
}

func (c *canonical) target(t *tuf.TargetFiles) {
	if t == nil || t.Custom != nil || len(t.UnrecognizedFields) > 0 || t.Hashes == nil {
		c.bad = true
		return
	}
	c.raw(`{"hashes":`).hashes(t.Hashes).raw(`,"length":`).number(t.Length).raw(`}`)
}

func (c *canonical) hashes(hashes tuf.Hashes) *canonical {
	c.raw(`{`)
	for i, name := range slices.Sorted(maps.Keys(hashes)) {
		c.name(i, name)
		c.raw(`"`)
		c.buf = hex.AppendEncode(c.buf, hashes[name])
		c.raw(`"`)
	}
	return c.raw(`}`)
}

// name begins the field of an object with the given place in it.
func (c *canonical) name(i int, name string) {
	if i > 0 {
		c.raw(`,`)
	}
	c.text(name).raw(`:`)
}

func (c *canonical) raw(s string) *canonical {
	c.buf = append(c.buf, s...)
	return c
}

func (c *canonical) number(n int64) *canonical {
	c.buf = strconv.AppendInt(c.buf, n, 10)
	return c
}

// text escapes what canonical JSON escapes, which is not all that JSON does.
func (c *canonical) text(s string) *canonical {
	c.bad = c.bad || !utf8.ValidString(s)
	c.raw(`"`)
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			c.raw(`\`)
		}
		c.buf = append(c.buf, s[i])
	}
	return c.raw(`"`)
}
