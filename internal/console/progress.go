package console

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

func isTerminal(fd int) bool { return term.IsTerminal(fd) }

// Progress shows how far a long transfer is: a bar on a terminal, and in a log
// a plain line at every tenth. The zero value shows nothing.
type Progress struct {
	bar   *progressbar.ProgressBar
	out   io.Writer
	label string
	total int64
	tenth int64
}

// NewProgress starts to show a transfer of total bytes on out.
func NewProgress(out *os.File, label string, total int64) *Progress {
	p := &Progress{out: out, label: label, total: total}
	if IsTerminal(out) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(label),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// Set says that done bytes of the transfer are done.
func (p *Progress) Set(done int64) {
	switch {
	case p == nil || p.out == nil:
	case p.bar != nil:
		_ = p.bar.Set64(done)
	case p.total > 0 && done*10/p.total > p.tenth:
		p.tenth = done * 10 / p.total
		fmt.Fprintf(p.out, "%s: %d%% of %d bytes\n", p.label, p.tenth*10, p.total)
	}
}

// Close ends the display.
func (p *Progress) Close() {
	if p != nil && p.bar != nil {
		_ = p.bar.Finish()
	}
}
