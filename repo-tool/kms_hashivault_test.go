//go:build hashivault

package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"tufboot/metadata/repository"
)

// transit stands in for Vault's transit engine, as far as its documentation
// says what a client sees: it signs what it is sent, or its hash.
type transit map[string]crypto.Signer

func (v transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	if r.Header.Get("X-Vault-Token") != "a token" || len(parts) < 2 || v[parts[1]] == nil {
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		return
	}
	private := v[parts[1]]
	var data map[string]any
	switch parts[0] {
	case "keys":
		data = map[string]any{"latest_version": 1, "keys": map[string]any{"1": publicOf(private)}}
	case "sign":
		var in struct {
			Input     []byte `json:"input"`
			Prehashed bool   `json:"prehashed"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		hash := crypto.Hash(0)
		if in.Prehashed {
			hash = crypto.SHA256
		}
		sig, err := private.Sign(rand.Reader, in.Input, hash)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		data = map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(sig)}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

// publicOf is a public key as transit shows it: Ed25519 in base64, others PEM.
func publicOf(private crypto.Signer) map[string]any {
	der, _ := cryptoutils.MarshalPublicKeyToDER(private.Public())
	if _, isRSA := private.(*rsa.PrivateKey); !isRSA && len(der) == 44 {
		return map[string]any{"name": "ed25519", "public_key": base64.StdEncoding.EncodeToString(der[12:])}
	}
	return map[string]any{"name": "other", "public_key": string(cryptoutils.PEMEncode(cryptoutils.PublicKeyPEMType, der))}
}

// TestVault links keys of each type that Vault has. RSA is refused, because
// sigstore asks Vault for PKCS#1 v1.5.
func TestVault(t *testing.T) {
	keys := make(transit)
	for _, keyType := range []repository.KeyType{repository.Ed25519, repository.ECDSA, repository.RSA} {
		private, err := repository.GenerateKey(keyType)
		if err != nil {
			t.Fatal(err)
		}
		keys[string(keyType)] = private
	}
	server := httptest.NewServer(keys)
	defer server.Close()
	t.Setenv("VAULT_ADDR", server.URL)
	t.Setenv("VAULT_TOKEN", "a token")
	dir := filepath.Join(t.TempDir(), "keys")
	for name, want := range map[string]int{"ed25519": 0, "ecdsa": 0, "rsa": 4, "absent": 1} {
		var stdout, stderr bytes.Buffer
		code := runHere(t.Context(), t, &stdout, &stderr, "key", "link", "--out", dir, "--name", name, "--uri", "hashivault://"+name)
		if code != want {
			t.Errorf("%s: exit code %d: %s", name, code, &stderr)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := runHere(t.Context(), t, &stdout, &stderr, "key", "self-test", "--keys", dir); code != 0 || strings.Count(stdout.String(), " ok ") != 2 {
		t.Errorf("exit code %d: %s%s", code, &stdout, &stderr)
	}
	keys["ecdsa"], keys["ed25519"] = keys["ed25519"], keys["ecdsa"]
	stdout.Reset()
	if code := runHere(t.Context(), t, &stdout, &stderr, "key", "self-test", "--keys", dir); code != 1 || strings.Count(stdout.String(), "what to do: correct the URI") != 2 {
		t.Errorf("after a rotation: exit code %d: %s%s", code, &stdout, &stderr)
	}
}
