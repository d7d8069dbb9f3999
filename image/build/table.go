package build

import (
	"context"
	"fmt"
	"strings"
)

// writeTable writes the GPT of l into the image file.
func writeTable(ctx context.Context, t *toolbox, image string, l *layout) error {
	var script strings.Builder
	fmt.Fprintf(&script, "label: gpt\nlabel-id: %s\nunit: sectors\nfirst-lba: %d\n", l.diskID, firstSector)
	for _, p := range l.partitions() {
		fmt.Fprintf(&script, "%d: start=%d, size=%d, type=%s, uuid=%s, name=\"%s\"\n",
			p.Number, p.Start/sectorSize, p.Size/sectorSize, p.typ, p.UUID, p.Name)
	}
	_, err := t.run(ctx, strings.NewReader(script.String()), "sfdisk",
		"--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", image)
	return err
}
