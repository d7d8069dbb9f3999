package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Schema is the version of the release and channel formats that this program
// writes. A reader refuses a higher one: it may mean something that the reader
// would get wrong.
const Schema = 1

// MaxManifestSize is the largest release manifest or channel file, in bytes,
// that a reader accepts.
const MaxManifestSize = 256 << 10

// ErrFormat is wrapped by every error about a malformed release manifest,
// channel file or name.
var ErrFormat = errors.New("malformed")

// Artifact names one file of a release: the TUF target that carries it, its
// length in bytes and its SHA-256 in lower-case hex.
type Artifact struct {
	Target string `json:"target"`
	Length int64  `json:"length"`
	SHA256 string `json:"sha256"`
}

// Release is the manifest of one release for one architecture
// (release.json). Its identity is the SHA-256 of its encoded bytes.
type Release struct {
	Schema    int      `json:"schema"`
	Version   string   `json:"version"`
	Arch      string   `json:"arch"`
	Kernel    Artifact `json:"kernel"`
	Initramfs Artifact `json:"initramfs"`
	// KernelChunks and InitramfsChunks name the chunk maps of the two (see package
	// chunks), with which a node fetches only what it lacks. Nil: there is none.
	// They belong to schema 1 like the rest: readers from before them ignore them.
	KernelChunks    *Artifact `json:"kernel_chunks,omitempty"`
	InitramfsChunks *Artifact `json:"initramfs_chunks,omitempty"`
	Cmdline         string    `json:"cmdline,omitempty"`
	Notes           string    `json:"notes,omitempty"`
}

// MinChunked is the least length, in bytes, of an artifact that gets a chunk map.
// Below it, a map and its requests cost about what they save.
const MinChunked = 1 << 20

// MaxChunkMap returns the largest size, in bytes, that the chunk map of an artifact
// of the given length can have: 2 % and 4 KiB.
func MaxChunkMap(length int64) int64 {
	return length/50 + 4<<10
}

// ID is the identity of a release: the SHA-256 of its manifest in lower-case
// hex. Two releases with the same version and other content differ in it.
type ID string

// Short returns the first 12 characters of id, for people.
func (id ID) Short() string {
	if len(id) > 12 {
		return string(id[:12])
	}
	return string(id)
}

// IdentityOf returns the identity of the release whose encoded manifest is given.
func IdentityOf(manifest []byte) ID {
	sum := sha256.Sum256(manifest)
	return ID(hex.EncodeToString(sum[:]))
}

// Artifacts returns the release's files in the order in which they are written
// to a slot.
func (r *Release) Artifacts() []Artifact {
	return []Artifact{r.Kernel, r.Initramfs}
}

// Targets returns everything that the manifest names: the artifacts and their chunk
// maps.
func (r *Release) Targets() []Artifact {
	all := r.Artifacts()
	for _, m := range []*Artifact{r.KernelChunks, r.InitramfsChunks} {
		if m != nil {
			all = append(all, *m)
		}
	}
	return all
}

// Size returns the sum of the artifacts' lengths in bytes.
func (r *Release) Size() int64 {
	return r.Kernel.Length + r.Initramfs.Length
}

// Encode returns the manifest's bytes, after checking it.
func (r *Release) Encode() ([]byte, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	return encode(r)
}

// ParseRelease decodes and checks a release manifest. Unknown fields are
// ignored, so that a later version can add some within the same schema.
// Errors wrap ErrFormat.
func ParseRelease(data []byte) (*Release, error) {
	r := new(Release)
	if err := decode(data, r); err != nil {
		return nil, fmt.Errorf("release manifest: %w", err)
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Release) validate() error {
	if err := checkSchema(r.Schema); err != nil {
		return fmt.Errorf("release manifest: %w", err)
	}
	if err := CheckVersion(r.Version); err != nil {
		return err
	}
	if err := CheckArch(r.Arch); err != nil {
		return err
	}
	if err := r.Kernel.validate(); err != nil {
		return fmt.Errorf("release %s (%s): %s: %w", r.Version, r.Arch, KernelFile, err)
	}
	if err := r.Initramfs.validate(); err != nil {
		return fmt.Errorf("release %s (%s): %s: %w", r.Version, r.Arch, InitramfsFile, err)
	}
	if err := r.checkChunks(KernelFile, r.Kernel, r.KernelChunks); err != nil {
		return err
	}
	if err := r.checkChunks(InitramfsFile, r.Initramfs, r.InitramfsChunks); err != nil {
		return err
	}
	return CheckCmdline(r.Cmdline)
}

// checkChunks checks what the manifest says of the chunk map of a file. That the map
// has to be the release's own keeps pruning simple: it goes with its release.
func (r *Release) checkChunks(file string, of Artifact, chunks *Artifact) error {
	if chunks == nil {
		return nil
	}
	err := chunks.validate()
	if want := ReleaseTarget(r.Version, r.Arch, file+ChunksSuffix); err == nil && chunks.Target != want {
		err = fmt.Errorf("target %s is not %s: %w", chunks.Target, want, ErrFormat)
	}
	if most := MaxChunkMap(of.Length); err == nil && chunks.Length > most {
		err = fmt.Errorf("length %d is more than %d: %w", chunks.Length, most, ErrFormat)
	}
	if err != nil {
		return fmt.Errorf("release %s (%s): chunk map of %s: %w", r.Version, r.Arch, file, err)
	}
	return nil
}

func (a Artifact) validate() error {
	if err := CheckTarget(a.Target); err != nil {
		return err
	}
	if a.Length <= 0 {
		return fmt.Errorf("length %d is not positive: %w", a.Length, ErrFormat)
	}
	return checkSHA256(a.SHA256)
}

func checkSchema(schema int) error {
	switch {
	case schema < 1:
		return fmt.Errorf("schema %d: %w", schema, ErrFormat)
	case schema > Schema:
		return fmt.Errorf("schema %d is newer than %d, the newest that this program knows; update this program: %w", schema, Schema, ErrFormat)
	}
	return nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	// What a reader would refuse must not be signed.
	if b.Len() > MaxManifestSize {
		return nil, fmt.Errorf("%d bytes, more than the %d allowed: %w", b.Len(), MaxManifestSize, ErrFormat)
	}
	return b.Bytes(), nil
}

func decode(data []byte, v any) error {
	if len(data) > MaxManifestSize {
		return fmt.Errorf("%d bytes, more than the %d allowed: %w", len(data), MaxManifestSize, ErrFormat)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("data after the JSON value: %w", ErrFormat)
	}
	return nil
}
