package machine

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// The command channel is a virtio serial port with lines of words:
//
//	guest: BOOT <nonce> <slot> <release> <try> .
//	host:  <nonce> <id> <script in base64>
//	guest: DONE <id> <exit status> x<stdout in base64> x<stderr in base64> .
//
// A guest can die in the middle of a line. So the guest starts each line with
// a line end and ends it with a dot, the host throws away lines that are not
// whole, and the nonce keeps a command from reaching another boot than the one
// it was meant for.

// Boot is what a guest says of itself when it is up.
type Boot struct {
	Slot    string // A or B, of the kernel command line; none without tufboot
	Release string // the version of the release that runs
	Try     int    // 0: committed; else which trial boot

	nonce string
}

// String returns a short form for messages, such as "v2 in slot B, trial boot 1".
func (b Boot) String() string {
	if b.Try == 0 {
		return fmt.Sprintf("%s in slot %s", b.Release, b.Slot)
	}
	return fmt.Sprintf("%s in slot %s, trial boot %d", b.Release, b.Slot, b.Try)
}

// Result is how a command in a guest ended.
type Result struct {
	Status         int
	Stdout, Stderr string
}

type channel struct {
	conn  net.Conn
	boots chan Boot // not yet waited for

	mu      sync.Mutex
	current Boot
	next    int // id of the next command
	waiting map[int]chan Result
	ended   chan struct{} // closed when the line is dead
}

func newChannel(conn net.Conn) *channel {
	c := &channel{conn: conn, boots: make(chan Boot, 1000), waiting: map[int]chan Result{}, ended: make(chan struct{})}
	go c.read()
	return c
}

func (c *channel) close() { _ = c.conn.Close() }

func (c *channel) read() {
	defer close(c.ended)
	defer drain(c.conn)
	lines := bufio.NewReader(c.conn)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) != 6 || words[5] != "." {
			continue
		}
		switch words[0] {
		case "BOOT":
			c.booted(words)
		case "DONE":
			c.finished(words)
		}
	}
}

func (c *channel) booted(words []string) {
	try, err := strconv.Atoi(words[4])
	if err != nil {
		return
	}
	b := Boot{nonce: words[1], Slot: words[2], Release: words[3], Try: try}
	c.mu.Lock()
	c.current = b
	for id, w := range c.waiting { // the boot that should have answered is gone
		close(w)
		delete(c.waiting, id)
	}
	c.mu.Unlock()
	c.boots <- b
}

func (c *channel) finished(words []string) {
	id, err := strconv.Atoi(words[1])
	if err != nil {
		return
	}
	status, err := strconv.Atoi(words[2])
	if err != nil {
		return
	}
	stdout, err1 := base64.StdEncoding.DecodeString(strings.TrimPrefix(words[3], "x"))
	stderr, err2 := base64.StdEncoding.DecodeString(strings.TrimPrefix(words[4], "x"))
	if err1 != nil || err2 != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.waiting[id]; ok {
		w <- Result{Status: status, Stdout: string(stdout), Stderr: string(stderr)}
		delete(c.waiting, id)
	}
}

// send starts a script in the guest and does not wait for its end.
func (c *channel) send(script string) error {
	_, err := c.start(script)
	return err
}

func (c *channel) start(script string) (chan Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.nonce == "" {
		return nil, fmt.Errorf("the guest is not up")
	}
	c.next++
	answer := make(chan Result, 1)
	c.waiting[c.next] = answer
	_, err := io.WriteString(c.conn, fmt.Sprintf("%s %d %s\n", c.current.nonce, c.next, base64.StdEncoding.EncodeToString([]byte(script))))
	return answer, err
}

// Exec runs a shell script in the guest and returns how it ended. A script that
// reboots the guest gives an error; use Begin and WaitBoot.
func (m *Machine) Exec(ctx context.Context, script string) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	doing := fmt.Sprintf("running %q", script)
	answer, err := m.channel.start(script)
	if err != nil {
		return Result{}, m.fail(doing, err)
	}
	select {
	case r, ok := <-answer:
		if !ok {
			return Result{}, m.fail(doing, fmt.Errorf("the guest rebooted"))
		}
		return r, nil
	case <-m.channel.ended:
		return Result{}, m.fail(doing, fmt.Errorf("the machine ended"))
	case <-ctx.Done():
		return Result{}, m.fail(doing, ctx.Err())
	}
}

// Begin starts a shell script in the guest and does not wait for its end.
func (m *Machine) Begin(script string) error {
	if err := m.channel.send(script); err != nil {
		return m.fail(fmt.Sprintf("starting %q", script), err)
	}
	return nil
}

// WaitBoot waits for the next boot that reaches user space and announces
// itself. Each boot is returned once, in order.
func (m *Machine) WaitBoot(ctx context.Context) (Boot, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	select {
	case b := <-m.channel.boots:
		return b, nil
	case <-m.channel.ended:
		return Boot{}, m.fail("waiting for a boot", fmt.Errorf("the machine ended"))
	case <-ctx.Done():
		return Boot{}, m.fail("waiting for a boot", ctx.Err())
	}
}

// WaitForGate is a script that ends when the health gate of this boot has
// ended, with 0 if it was content. The gate says one line at its end.
const WaitForGate = `log=/run/tufboot/gate.log
until grep -q '^tufboot-gate: ' $log 2>/dev/null; do sleep 0.1; done
cat $log
grep -qE '^tufboot-gate: (healthy|the trial is committed)$' $log`
