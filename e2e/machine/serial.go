package machine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"sync"
)

// Serial is a machine's serial console: all that it printed so far, also in
// the file serial.log of the machine's folder.
type Serial struct {
	conn net.Conn

	mu      sync.Mutex
	text    []byte        // with terminal escapes removed
	changed chan struct{} // closed and replaced whenever text grows
	ended   bool
}

// escapes are the terminal control sequences that GRUB and OVMF print.
var escapes = regexp.MustCompile(`\x1b(\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[a-zA-Z=>])`)

func newSerial(conn net.Conn, log *os.File) *Serial {
	s := &Serial{conn: conn, changed: make(chan struct{})}
	go s.read(io.TeeReader(conn, log), log)
	return s
}

func (s *Serial) read(r io.Reader, log io.Closer) {
	defer log.Close()
	buf := make([]byte, 4096)
	var pending []byte
	for {
		n, err := r.Read(buf)
		pending = append(pending, buf[:n]...)
		cut := len(pending)
		// An escape sequence may be cut in two: hold back its first half.
		if i := bytes.LastIndexByte(pending, 0x1b); i >= 0 && err == nil && len(pending)-i < 16 && !escapes.Match(pending[i:]) {
			cut = i
		}
		s.add(pending[:cut], err != nil)
		pending = append([]byte(nil), pending[cut:]...)
		if err != nil {
			return
		}
	}
}

func (s *Serial) add(raw []byte, ended bool) {
	clean := escapes.ReplaceAll(raw, nil)
	clean = bytes.ReplaceAll(clean, []byte("\r"), nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, clean...)
	s.ended = s.ended || ended
	close(s.changed)
	s.changed = make(chan struct{})
}

// Mark returns the current end of the console's text, for Since and Wait.
func (s *Serial) Mark() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.text)
}

// Since returns what was printed after mark.
func (s *Serial) Since(mark int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text[mark:])
}

// Wait waits until what was printed after mark matches re, and returns the
// matching text.
func (s *Serial) Wait(ctx context.Context, mark int, re *regexp.Regexp) (string, error) {
	for {
		s.mu.Lock()
		found := re.Find(s.text[mark:])
		text, changed, ended := string(found), s.changed, s.ended
		s.mu.Unlock()
		switch {
		case found != nil:
			return text, nil
		case ended:
			return "", fmt.Errorf("the console ended before it showed %q; its last lines:\n%s", re, s.Tail(60))
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("the console does not show %q: %w; its last lines:\n%s", re, ctx.Err(), s.Tail(60))
		}
	}
}

// Follow calls line with each whole line that the console prints after mark,
// until ctx ends or the console does.
func (s *Serial) Follow(ctx context.Context, mark int, line func(string)) {
	for {
		s.mu.Lock()
		text, changed, ended := string(s.text[mark:]), s.changed, s.ended
		s.mu.Unlock()
		if cut := strings.LastIndexByte(text, '\n') + 1; cut > 0 {
			for l := range strings.Lines(text[:cut]) {
				line(strings.TrimRight(l, "\n"))
			}
			mark += cut
		}
		if ended {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Type sends keys to the console.
func (s *Serial) Type(keys string) error {
	_, err := io.WriteString(s.conn, keys)
	return err
}

// Tail returns the last n lines that are not empty.
func (s *Serial) Tail(n int) string {
	s.mu.Lock()
	text := string(s.text)
	s.mu.Unlock()
	var lines []string
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) != "" {
			lines = append(lines, strings.TrimRight(l, "\n"))
		}
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return "  | " + strings.Join(lines, "\n  | ")
}

func (s *Serial) close() { _ = s.conn.Close() }
