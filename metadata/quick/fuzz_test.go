package quick_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	tuf "github.com/theupdateframework/go-tuf/v2/metadata"

	"tufboot/metadata/quick"
)

type rawMessage = json.RawMessage

// FuzzRead: nothing is read that was not signed, whatever the file looks like.
func FuzzRead(f *testing.F) {
	ids, signers := keys(f)
	by := root(ids, "role", 1, "a")
	s, l := snapshot(3), targets(3)
	f.Add(sign(f, s, signers, "a"))
	f.Add(sign(f, l, signers, "a"))
	f.Add([]byte(`{"signed":{"_type":"snapshot","meta":{"x":null}}}`))
	f.Add([]byte(`{"signed":{"_type":"targets","targets":{"x":null}},"signatures":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := quick.Read[tuf.SnapshotType](by, "role", data); got != nil && !reflect.DeepEqual(got.Signed, plain(s).Signed) {
			t.Errorf("read %+v", got.Signed)
		}
		if got := quick.Read[tuf.TargetsType](by, "role", data); got != nil && !reflect.DeepEqual(got.Signed, plain(l).Signed) {
			t.Errorf("read %+v", got.Signed)
		}
	})
}

// FuzzPayload: what is signed is what go-tuf signs.
func FuzzPayload(f *testing.F) {
	f.Add("releases.json", "sha256", []byte("hash"), int64(1), int64(2), "2027-01-01T00:00:00Z")
	f.Add("\\\"<é>\x00\u2028\xff", "", []byte(nil), int64(0), int64(-1), "")
	f.Fuzz(func(t *testing.T, name, algorithm string, sum []byte, version, length int64, expiry string) {
		s, l := snapshot(1), targets(1)
		hashes := tuf.Hashes{algorithm: sum}
		m := &tuf.MetaFiles{Version: version, Length: length, Hashes: hashes}
		if expiry != "" {
			m.UnrecognizedFields = map[string]any{"x-tufboot-expires": expiry}
		}
		s.Signed.Meta[name] = m
		l.Signed.Targets[name] = &tuf.TargetFiles{Length: length, Hashes: hashes}
		equals(t, s)
		equals(t, l)
	})
}

func equals[T tuf.Roles](t *testing.T, md *tuf.Metadata[T]) {
	got, err := quick.Payload(md)
	if err != nil {
		return // go-tuf does it then
	}
	want, err := cjson.EncodeCanonical(md.Signed)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
