package repository

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// historyVersions returns the timestamp versions of the past states that are
// known, the newest first, without reading them.
func historyVersions(ctx context.Context, from Listable) ([]int64, error) {
	var versions []int64
	for info, err := range from.List(ctx, historyDir) {
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", from, err)
		}
		number, ok := strings.CutSuffix(path.Base(info.Name), ".json")
		if version, err := strconv.ParseInt(number, 10, 64); ok && err == nil && version > 0 {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions, nil
}

// status counts past states by their names.
func (b earlier) status() *HistoryStatus {
	h := &HistoryStatus{States: len(b.states), Published: b.marker.Timestamp}
	if n := len(b.states); n > 0 {
		h.Newest, h.Oldest = b.states[0], b.states[n-1]
	}
	return h
}
