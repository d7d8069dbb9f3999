package repository

import (
	"context"
	"fmt"
	"strings"

	"tufboot/metadata"
	"tufboot/metadata/chunks"
)

// mapOf returns the chunk map that the repository has for a target, nil where it has
// none. Which targets have one is known by their names.
func (v *verifier) mapOf(ctx context.Context, of metadata.Artifact) (*chunks.Map, error) {
	if _, _, ok := releaseOf(of.Target); !ok || strings.HasSuffix(of.Target, metadata.ChunksSuffix) {
		return nil, nil
	}
	m, ok, err := v.st.target(ctx, of.Target+metadata.ChunksSuffix)
	if err != nil || !ok {
		return nil, err
	}
	if err := checkTarget(ctx, v.from, m, nil); err != nil {
		return nil, err // as it is told of every target
	}
	return v.st.readMap(ctx, m, of.Length)
}

// checkContent compares a target's bytes with its signed hash and with its chunk map.
func (v *verifier) checkContent(ctx context.Context, t metadata.Artifact, progress func(done int64)) error {
	m, err := v.mapOf(ctx, t)
	if err != nil {
		return err
	}
	if m == nil {
		return checkTarget(ctx, v.from, t, progress)
	}
	c := &mapChecker{chunks: m.Chunks}
	if err := checkTargetTo(ctx, c, v.from, t, progress); err != nil {
		return err
	}
	return c.check(t.Target)
}

// mapChecker compares what is written to it with a chunk map.
type mapChecker struct {
	chunks []chunks.Chunk
	begun  []byte // of the first of them
	wrong  bool
}

// Write never fails.
func (c *mapChecker) Write(data []byte) (int, error) {
	n := len(data)
	for len(data) > 0 && !c.wrong {
		if len(c.chunks) == 0 {
			c.wrong = true
			break
		}
		first := c.chunks[0]
		take := min(int(first.Length)-len(c.begun), len(data))
		c.begun, data = append(c.begun, data[:take]...), data[take:]
		if len(c.begun) < int(first.Length) {
			break
		}
		c.wrong = chunks.IDOf(c.begun) != first.ID
		c.chunks, c.begun = c.chunks[1:], c.begun[:0]
	}
	return n, nil
}

// check says whether what was written is what the map is of.
func (c *mapChecker) check(target string) error {
	if !c.wrong && len(c.chunks) == 0 {
		return nil
	}
	return &InvalidError{
		Reason: ReasonBadRepository, Advice: "nodes notice, and fetch more than they need; publish the files under another version",
		Err: fmt.Errorf("target %s is not what its chunk map says", target),
	}
}
