package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestMakeKeysStops interrupts the making of keys, which takes a second for each
// that is encrypted: no further one is made, and the next attempt goes on.
func TestMakeKeysStops(t *testing.T) {
	dir := t.TempDir()
	plan := KeyPlan{Type: Ed25519, RootKeys: 3, RootThreshold: 2}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MakeKeysFor(ctx, dir, plan, AllKeys(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "*.key")); len(made) > 0 {
		t.Errorf("%v are made", made)
	}
	if _, err := MakeKeys(dir, plan, nil); err != nil {
		t.Error(err)
	}
}

// TestMakeKeysUnknownAttempt finds a mark that does not say what was to be made, as
// earlier versions wrote it.
func TestMakeKeysUnknownAttempt(t *testing.T) {
	for _, mark := range []string{"", "{}", "nonsense"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, initMark), []byte(mark), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := MakeKeys(dir, KeyPlan{Type: Ed25519, RootKeys: 1, RootThreshold: 1}, nil)
		wantReason(t, err, ReasonExists)
	}
}

// TestMakeKeysLimit wants no more keys than people.
func TestMakeKeysLimit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := MakeKeys(dir, KeyPlan{Type: Ed25519, RootKeys: maxRoleKeys + 1, RootThreshold: 1}, nil)
	var wrong *ValueError
	if !errors.As(err, &wrong) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is made")
	}
}
