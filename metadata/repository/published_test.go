package repository

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestPutBack: whoever can write the folder puts an older timestamp.json back,
// and the next command must not make it newer than what nodes hold.
func TestPutBack(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	path := filepath.Join(r.Place(), filepath.FromSlash(timestampFile))
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "2")
	now, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		_, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true})
		wantReason(t, err, ReasonRegression)
		_, err = r.Publish(t.Context(), release(t, keys, "3", "3"))
		wantReason(t, err, ReasonRegression)
	}
	for _, data := range [][]byte{old, append(now, '\n')} { // older; the same version with other bytes
		writeFile(t, path, string(data))
		refused()
	}
	// A marker that is older than the state is brought up to date.
	writeFile(t, path, string(now))
	writeFile(t, filepath.Join(r.Place(), publishedFile), `{"timestamp":2,"root":1,"sha256":""}`)
	publish(t, r, keys, "2")
	writeFile(t, path, string(old))
	refused()
	// The way out, where the newer state is lost.
	if err := os.Remove(filepath.Join(r.Place(), publishedFile)); err != nil {
		t.Fatal(err)
	}
	publish(t, r, keys, "3")
	// The history alone tells, too, and a number cannot overflow.
	past, err := os.ReadFile(filepath.Join(r.Place(), historyFile(2)))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.Place(), historyFile(1<<63-1)), string(past)) // its number is a lie
	publish(t, r, keys, "4")
	st, err := load(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	above := fmt.Sprintf(`{"root":1,"timestamp":%q}`, base64.StdEncoding.EncodeToString([]byte(`{"signed":{"version":99}}`)))
	if err := os.WriteFile(filepath.Join(r.Place(), historyFile(st.timestamp.Signed.Version+1)), []byte(above), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.Place(), historyFile(1<<63-1))); err != nil {
		t.Fatal(err)
	}
	refused()
}

// TestOtherBytes: a file that reads as what was signed and is not byte for byte what
// the file above it names is not built upon.
func TestOtherBytes(t *testing.T) {
	r, keys := newRepo(t)
	publish(t, r, keys, "1")
	for _, name := range []string{Snapshot, Targets} {
		files, err := filepath.Glob(filepath.Join(r.Place(), "metadata", "*."+name+".json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", name, files, err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Refresh(t.Context(), RefreshOptions{Keys: keys, All: true}); !isInvalid(err) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
		for _, path := range files {
			if data, err := os.ReadFile(path); err != nil || os.WriteFile(path, data[:len(data)-1], 0o600) != nil {
				t.Fatal(err)
			}
		}
	}
}
