package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"tufboot/internal/console"
)

// printer writes the story: what is said, what is typed and what machines
// answer can be told apart by their margin, and on a terminal by colour.
type printer struct {
	w      io.Writer
	colour bool
	mu     sync.Mutex // the console speaks while the story goes on
}

func newPrinter() *printer {
	return &printer{w: os.Stdout, colour: console.IsTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
}

// The colours of the story (ECMA-48, select graphic rendition).
const (
	bold  = "1"
	green = "32"
	cyan  = "36"
	faint = "2"
)

func (p *printer) line(style, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.colour && style != "" {
		text = "\x1b[" + style + "m" + text + "\x1b[0m"
	}
	fmt.Fprintln(p.w, text)
}

// chapter starts a new part of the story.
func (p *printer) chapter(title string) {
	p.line("", "")
	p.line(bold, "== "+title)
}

// say prints a sentence or two.
func (p *printer) say(format string, args ...any) {
	p.line("", fmt.Sprintf(format, args...))
}

// typed prints a command as if it were typed after prompt.
func (p *printer) typed(prompt, command string) {
	p.line(cyan, prompt+" "+command)
}

// output prints what a command printed.
func (p *printer) output(text string) {
	for l := range strings.Lines(text) {
		p.line("", "  "+strings.TrimRight(l, "\n"))
	}
}

// console prints a line of the machine's serial console.
func (p *printer) console(line string) {
	p.line(faint, "  console | "+line)
}

// good prints a result that the story has been waiting for.
func (p *printer) good(format string, args ...any) {
	p.line(green, "=> "+fmt.Sprintf(format, args...))
}
