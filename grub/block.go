package grub

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// BlockSize is the size of an environment block in bytes
// (DEFAULT_ENVBLK_SIZE in GRUB's util/editenv.c).
const BlockSize = 1024

// blockHeader starts every block (GRUB_ENVBLK_SIGNATURE in grub/lib/envblk.h).
const blockHeader = "# GRUB Environment Block\n"

// ErrNoSpace is returned when a variable does not fit into a block.
var ErrNoSpace = errors.New("environment block too small")

// Block is an environment block: the header, then lines NAME=VALUE and comments
// that start with "#", then "#" up to the end. In a value a backslash and a
// newline are written with a backslash before them.
//
// All reading and editing agrees byte by byte with GRUB's lib/envblk.c, so
// comments and variables of others stay where they are. The zero Block is not
// usable.
type Block struct {
	buf []byte
}

// NewBlock returns a block without variables.
func NewBlock() *Block {
	b := &Block{buf: bytes.Repeat([]byte{'#'}, BlockSize)}
	copy(b.buf, blockHeader)
	return b
}

// ParseBlock returns the block that data holds. It wants exactly BlockSize bytes
// that start with the header; what follows is only looked at when asked for, as
// GRUB does. Errors wrap ErrDamaged.
func ParseBlock(data []byte) (*Block, error) {
	switch {
	case len(data) == 0:
		return nil, damaged("it is empty")
	case len(bytes.Trim(data, "\x00")) == 0:
		return nil, damaged("it is all zero bytes")
	case bytes.HasPrefix(data, []byte("# GRUB Environment Block\r\n")):
		return nil, damaged("its lines end in CR LF: something edited it as a text file")
	case !bytes.HasPrefix(data, []byte(blockHeader)):
		return nil, damaged("its header is not that of an environment block")
	case len(data) != BlockSize:
		return nil, damaged(fmt.Sprintf("it has %d bytes, not %d", len(data), BlockSize))
	}
	return &Block{buf: bytes.Clone(data)}, nil
}

// Bytes returns the block's content, BlockSize bytes.
func (b *Block) Bytes() []byte { return bytes.Clone(b.buf) }

// Variable is a name and a value in a block.
type Variable struct{ Name, Value string }

// Variables returns all variables in the order of the block, as "grub-editenv
// list" prints them. A name that is there twice is there twice.
func (b *Block) Variables() []Variable {
	var all []Variable
	for p := len(blockHeader); p < len(b.buf); p = b.nextLine(p) {
		if b.buf[p] == '#' {
			continue
		}
		// As in GRUB, a name runs to the next "=", across line ends.
		eq := bytes.IndexByte(b.buf[p:], '=')
		if eq < 0 {
			break
		}
		name := b.buf[p : p+eq]
		start := p + eq + 1
		end, ok := b.valueEnd(start)
		if !ok {
			break
		}
		all = append(all, Variable{Name: cString(name), Value: cString(unescape(b.buf[start:end]))})
		p = end
	}
	return all
}

// Get returns the value of a variable. Where a name is there twice, the last one
// counts, as for GRUB's load_env, which sets one after the other.
func (b *Block) Get(name string) (value string, ok bool) {
	for _, v := range b.Variables() {
		if v.Name == name {
			value, ok = v.Value, true
		}
	}
	return value, ok
}

// Set gives a variable a value, in place where the name is there already (the
// first, if it is there twice) and else at the end. The error wraps ErrNoSpace if
// there is no room, ErrDamaged if the lines before the padding are broken.
func (b *Block) Set(name, value string) error {
	if err := checkVariable(name, value); err != nil {
		return err
	}
	space := len(b.buf)
	for b.buf[space-1] == '#' {
		space--
	}
	if b.buf[space-1] != '\n' {
		return damaged("the last line before the padding has no end")
	}
	escaped := escape(value)
	start, found := b.find(name, space)
	if !found {
		line := name + "=" + escaped + "\n"
		if len(b.buf)-space < len(line) {
			return fmt.Errorf("set %s: %w", name, ErrNoSpace)
		}
		copy(b.buf[space:], line)
		return nil
	}
	end, ok := b.valueEnd(start)
	if !ok {
		return damaged("the line of " + name + " has no end")
	}
	grow := len(escaped) - (end - start)
	if len(b.buf)-space < grow {
		return fmt.Errorf("set %s: %w", name, ErrNoSpace)
	}
	tail := bytes.Clone(b.buf[end:])
	copy(b.buf[start:], escaped)
	copy(b.buf[start+len(escaped):], tail)
	for i := 0; i < -grow; i++ {
		b.buf[space-1-i] = '#'
	}
	return nil
}

// Unset removes a variable (the first, if it is there twice). A name that is not
// there is no error, nor is one whose line has no end: it stays, as in GRUB.
func (b *Block) Unset(name string) {
	start, found := b.find(name, len(b.buf))
	if !found {
		return
	}
	end, ok := b.valueEnd(start)
	if !ok {
		return
	}
	line := start - len(name) - 1
	n := copy(b.buf[line:], b.buf[end+1:])
	for i := line + n; i < len(b.buf); i++ {
		b.buf[i] = '#'
	}
}

// find returns where the value of the first variable called name starts. It
// looks at the start of each line that ends before limit.
func (b *Block) find(name string, limit int) (start int, ok bool) {
	for p := len(blockHeader); p+len(name)+1 < limit; p = b.nextLine(p) {
		if bytes.HasPrefix(b.buf[p:], []byte(name+"=")) {
			return p + len(name) + 1, true
		}
	}
	return 0, false
}

// valueEnd returns the index of the newline that ends the value at start.
func (b *Block) valueEnd(start int) (end int, ok bool) {
	end = b.skip(start)
	return end, end < len(b.buf)
}

// nextLine returns where the line after that at p starts.
func (b *Block) nextLine(p int) int { return b.skip(p) + 1 }

// skip returns the index of the first newline from p on that has no backslash
// before it, or an index behind the block.
func (b *Block) skip(p int) int {
	for p < len(b.buf) && b.buf[p] != '\n' {
		if b.buf[p] == '\\' {
			p++
		}
		p++
	}
	return p
}

// checkVariable refuses what GRUB would not read back as it was written.
func checkVariable(name, value string) error {
	switch {
	case name == "" || strings.ContainsAny(name, "=\n\\\x00") || name[0] == '#':
		return fmt.Errorf("%q cannot name a variable of an environment block", name)
	case strings.Contains(value, "\x00"):
		return fmt.Errorf("value of %s: zero byte", name)
	}
	return nil
}

func escape(value string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", "\\\n").Replace(value)
}

func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			i++
		}
		out = append(out, raw[i])
	}
	return out
}

// cString cuts b where C ends a string.
func cString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}
