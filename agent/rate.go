package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// minRate is the lowest bandwidth limit in bytes per second: slower answers
// count as ones that have stopped coming.
const minRate = 10_000

// parseRate reads a bandwidth limit, such as "10MB/s" or "500kB/s", in bytes per
// second. "" and "0" are no limit, which is 0.
func parseRate(text string) (int64, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	number, ok := strings.CutSuffix(strings.TrimSuffix(text, "/s"), "B")
	unit := int64(1)
	for prefix, value := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if n, has := strings.CutSuffix(number, prefix); has {
			number, unit = n, value
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if !ok || err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("bandwidth limit %q: use a number with B/s, kB/s, MB/s or GB/s, such as 10MB/s", text)
	}
	if n*unit < minRate {
		return 0, fmt.Errorf("bandwidth limit %q: less than %d kB/s is taken for a connection that is stuck", text, minRate/1000)
	}
	return n * unit, nil
}
