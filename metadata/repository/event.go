package repository

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	tuf "github.com/theupdateframework/go-tuf/v2/metadata"
)

// Reason codes about events.
const (
	ReasonBadEvent    = "invalid-event"         // torn, altered, or it makes no sense
	ReasonEventSchema = "unknown-schema"        // made by a newer program
	ReasonUnsigned    = "not-enough-signatures" // the event is not signed by enough keys yet
	ReasonNotSigner   = "not-a-signer"          // none of the keys can sign the event
	ReasonNoSuchKey   = "no-such-key"           // the role has no such key
	ReasonNoSuchRole  = "no-such-role"          // there is no such role, and it cannot be made
	ReasonOtherEvent  = "different-events"      // the events to merge are not the same
	ReasonUntrusted   = "untrusted-root"        // it does not start from the root that the signer trusts
	ReasonUnfinished  = "change-unfinished"     // a change of keys was cut short
)

// eventSchema is the version of the event's file format.
const eventSchema = 1

// MaxEvent is the most bytes that an event's file may have: a published targets.json, its
// successor, and many roots.
const MaxEvent = 4 * maxMetadata

// Event is a ceremony: new root and targets metadata, or one of them, on its way
// from signer to signer, with the signatures so far. It is one file, see
// [Event.Encode], that fits a USB stick.
//
// Nothing in the file is believed. Besides the new metadata it holds what that
// starts from: the row of published roots from version 1 on, and the published
// targets. What changes is computed from these (see [Event.Changes]), each root
// must be signed by the one before, and every signature must verify. An Event
// exists only if all that holds.
type Event struct {
	roots       [][]byte // the published N.root.json, N = 1, 2, ...; none for a new repository
	baseRoot    *tuf.Metadata[tuf.RootType]
	baseData    []byte // the published targets.json, where targets is not nil
	baseTargets *tuf.Metadata[tuf.TargetsType]

	root    *tuf.Metadata[tuf.RootType]    // nil: root.json stays
	targets *tuf.Metadata[tuf.TargetsType] // nil: targets.json stays
}

// eventFile is the file's form.
type eventFile struct {
	Schema  int                            `json:"schema"`
	Base    *eventBase                     `json:"base,omitempty"` // none for a new repository
	Root    *tuf.Metadata[tuf.RootType]    `json:"root,omitempty"`
	Targets *tuf.Metadata[tuf.TargetsType] `json:"targets,omitempty"`
}

// eventBase is the published metadata, byte for byte (in base64).
type eventBase struct {
	Roots   [][]byte `json:"roots"`
	Targets []byte   `json:"targets,omitempty"`
}

func badEvent(format string, args ...any) error {
	return &InvalidError{Reason: ReasonBadEvent, Err: fmt.Errorf("event: "+format, args...)}
}

// ParseEvent decodes and checks an event's file. It must be, byte for byte, what
// Encode would write for what was understood of it: so it says nothing that the
// program did not take note of.
//
// Errors are [InvalidError] for a file that is torn or altered or not signed
// rightly, and [RefusedError] for one that asks for what is never allowed, such
// as a threshold of 0.
func ParseEvent(data []byte) (_ *Event, err error) {
	defer func() {
		if p := recover(); p != nil { // as recoverMalformed does
			err = badEvent("malformed metadata: %v", p)
		}
	}()
	if len(data) > MaxEvent {
		return nil, badEvent("more than %d bytes", MaxEvent)
	}
	file, err := decodeEvent(data)
	if err != nil {
		return nil, err
	}
	again, err := file.encode()
	if err != nil {
		return nil, badEvent("%w", err)
	}
	if !bytes.Equal(again, data) {
		return nil, badEvent("the file is not in the form that this program writes")
	}
	e := &Event{root: file.Root, targets: file.Targets}
	if file.Base != nil {
		e.roots, e.baseData = file.Base.Roots, file.Base.Targets
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	return e, nil
}

func decodeEvent(data []byte) (*eventFile, error) {
	var version struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, badEvent("not an event's file, or not all of it: %w", err)
	}
	if version.Schema != eventSchema {
		return nil, refuse(ReasonEventSchema, "use the version of repo-tool that made the event",
			"event: schema %d, and this program knows %d", version.Schema, eventSchema)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	file := new(eventFile)
	if err := d.Decode(file); err != nil {
		return nil, badEvent("%w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, badEvent("something follows the event")
	}
	return file, nil
}

func (f *eventFile) encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(f); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Encode returns the event's file.
func (e *Event) Encode() ([]byte, error) {
	file := &eventFile{Schema: eventSchema, Root: e.root, Targets: e.targets}
	if len(e.roots) > 0 {
		file.Base = &eventBase{Roots: e.roots, Targets: e.baseData}
	}
	data, err := file.encode()
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	return data, nil
}

// New reports whether the event makes a repository that is not there yet.
func (e *Event) New() bool { return len(e.roots) == 0 }

// ID returns the hex SHA-256 of what is to be signed and what that starts from. It
// stays the same while
// signatures are added, so that signers can compare it.
func (e *Event) ID() string {
	sum := sha256.New()
	add := func(name string, data []byte) { fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data) }
	for _, part := range e.parts() {
		add(part.role, part.message)
	}
	for _, data := range e.roots {
		add("published root", data)
	}
	add("published targets", e.baseData)
	return hex.EncodeToString(sum.Sum(nil))
}

// authorityRoot returns the root that says who may sign the new targets.
func (e *Event) authorityRoot() *tuf.Metadata[tuf.RootType] {
	if e.root != nil {
		return e.root
	}
	return e.baseRoot
}

// samePayload reports whether two pieces of metadata say the same, whoever has
// signed them.
func samePayload[T tuf.Roles](a, b *tuf.Metadata[T]) bool {
	x, err1 := payload(a)
	y, err2 := payload(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// clone returns an unsigned copy of metadata.
func clone[T tuf.Roles](md *tuf.Metadata[T]) (*tuf.Metadata[T], error) {
	data, err := json.Marshal(md.Signed)
	if err != nil {
		return nil, err
	}
	c := &tuf.Metadata[T]{Signatures: []tuf.Signature{}}
	return c, json.Unmarshal(data, &c.Signed)
}
