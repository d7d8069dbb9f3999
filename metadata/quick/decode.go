package quick

import (
	"time"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata"
)

// file is what all files have in common.
type file struct {
	kind, spec string
	version    int64
	expires    time.Time
	signatures []tuf.Signature
}

// decode reads a metadata file that has nothing in it but the fields below. The
// entries are in an object with the name list; entry must read one.
func decode(data []byte, list string, entry func(s *scanner, name string)) (file, bool) {
	s := &scanner{data: data}
	var f file
	s.object(func(name string) {
		switch name {
		case "signed":
			f.signed(s, list, entry)
		case "signatures":
			s.list(func() { f.signatures = append(f.signatures, signedBy(s)) })
		default:
			s.bad = true
		}
	})
	return f, !s.bad && s.ended()
}

func (f *file) signed(s *scanner, list string, entry func(s *scanner, name string)) {
	listed := false
	s.object(func(name string) {
		switch name {
		case "_type":
			f.kind = s.text()
		case "spec_version":
			f.spec = s.text()
		case "version":
			f.version = s.number()
		case "expires":
			if err := f.expires.UnmarshalText(s.raw()); err != nil {
				s.bad = true
			}
		case list:
			listed = true
			s.object(func(name string) { entry(s, name) })
		default:
			s.bad = true
		}
	})
	s.bad = s.bad || !listed
}

func signedBy(s *scanner) tuf.Signature {
	var sig tuf.Signature
	s.object(func(name string) {
		switch name {
		case "keyid":
			sig.KeyID = s.text()
		case "sig":
			sig.Signature = s.hex()
		default:
			s.bad = true
		}
	})
	return sig
}

func hashes(s *scanner) tuf.Hashes {
	sums := make(tuf.Hashes, 1)
	s.object(func(name string) { sums[name] = s.hex() })
	return sums
}

// decodeSnapshot returns nil for what is no plain snapshot.
func decodeSnapshot(data []byte) *tuf.Metadata[tuf.SnapshotType] {
	roles := make(map[string]*tuf.MetaFiles, len(data)/170)
	f, ok := decode(data, "meta", func(s *scanner, name string) { roles[name] = role(s) })
	if !ok || f.kind != tuf.SNAPSHOT {
		return nil
	}
	return &tuf.Metadata[tuf.SnapshotType]{
		Signed:     tuf.SnapshotType{Type: f.kind, SpecVersion: f.spec, Version: f.version, Expires: f.expires, Meta: roles},
		Signatures: f.signatures,
	}
}

func role(s *scanner) *tuf.MetaFiles {
	m := new(tuf.MetaFiles)
	s.object(func(name string) {
		switch name {
		case "version":
			m.Version = s.number()
		case "length":
			m.Length = s.number()
		case "hashes":
			m.Hashes = hashes(s)
		case metadata.ExpiresField:
			m.UnrecognizedFields = map[string]any{name: s.text()}
		default:
			s.bad = true
		}
	})
	return m
}

// decodeTargets returns nil for what is no plain list of targets.
func decodeTargets(data []byte) *tuf.Metadata[tuf.TargetsType] {
	targets := make(map[string]*tuf.TargetFiles, len(data)/160)
	f, ok := decode(data, "targets", func(s *scanner, name string) { targets[name] = target(s, name) })
	if !ok || f.kind != tuf.TARGETS {
		return nil
	}
	return &tuf.Metadata[tuf.TargetsType]{
		Signed:     tuf.TargetsType{Type: f.kind, SpecVersion: f.spec, Version: f.version, Expires: f.expires, Targets: targets},
		Signatures: f.signatures,
	}
}

func target(s *scanner, path string) *tuf.TargetFiles {
	t := &tuf.TargetFiles{Path: path}
	s.object(func(name string) {
		switch name {
		case "length":
			t.Length = s.number()
		case "hashes":
			t.Hashes = hashes(s)
		default:
			s.bad = true
		}
	})
	s.bad = s.bad || len(t.Hashes) == 0
	return t
}
