package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

func isTerminal(fd int) bool { return term.IsTerminal(fd) }

// Progress shows how far a long transfer is: a bar on a terminal, and in a log
// a plain line at every tenth. The zero value shows nothing.
type Progress struct {
	out      io.Writer
	terminal bool
	label    string
	total    int64
	tenth    int64     // of the last line in a log
	drawn    time.Time // when the bar was drawn last
}

// NewProgress starts to show a transfer of total bytes on out.
func NewProgress(out *os.File, label string, total int64) *Progress {
	return &Progress{out: out, terminal: IsTerminal(out), label: label, total: total}
}

// redraw is how often a bar is drawn at most.
const redraw = 100 * time.Millisecond

// clearLine goes to the line's beginning and clears it (ECMA-48, EL).
const clearLine = "\r\x1b[K"

// Set says that done bytes of the transfer are done.
func (p *Progress) Set(done int64) {
	switch {
	case p == nil || p.out == nil || p.total <= 0:
	case p.terminal:
		if now := time.Now(); now.Sub(p.drawn) >= redraw {
			p.drawn = now
			fmt.Fprint(p.out, clearLine+bar(p.label, done, p.total))
		}
	case done*10/p.total > p.tenth:
		p.tenth = done * 10 / p.total
		fmt.Fprintf(p.out, "%s: %d%% of %d bytes\n", p.label, p.tenth*10, p.total)
	}
}

// Close ends the display; a bar goes away.
func (p *Progress) Close() {
	if p != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.out, clearLine)
	}
}

// bar is one line that shows how much of a transfer is done, narrow enough for
// any terminal.
func bar(label string, done, total int64) string {
	const width = 30
	n := int(max(0, min(done, total)) * width / total)
	return fmt.Sprintf("%s [%s%s] %d/%d MB", label, strings.Repeat("=", n), strings.Repeat(" ", width-n), done/1e6, total/1e6)
}
