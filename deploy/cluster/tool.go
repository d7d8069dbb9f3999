package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// toolLimit is how long a tool may take. Nothing but a build comes near it.
const toolLimit = 10 * time.Minute

// tool is a command that ends by itself. It returns what was printed on standard
// output; what was printed on standard error is in the error.
type tool struct {
	dir   string   // "": this one
	env   []string // nil: this one
	stdin string
}

func (t tool) run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = t.dir, t.env, strings.NewReader(t.stdin)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), err
}
