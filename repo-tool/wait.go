package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/internal/console"
	"tufboot/metadata/repository"
)

func waitFlag() cli.Flag {
	return &cli.DurationFlag{Name: "wait", Usage: "wait for `DURATION`, such as 5m, until another command on the repository ends; else it is refused at once", EnvVars: []string{"REPO_TOOL_WAIT"}}
}

// whenFree runs do, which locks the repository, and runs it again while another
// command holds the lock or, in a bucket, was faster: until it is done or the time
// of --wait is over. Then the last refusal is returned.
func whenFree[T any](c *cli.Context, do func() (T, error)) (T, error) {
	const interval = 200 * time.Millisecond
	v, err := commonOf(c)
	if err != nil {
		var none T
		return none, err
	}
	over, cancel := context.WithTimeout(c.Context, c.Duration("wait"))
	defer cancel()
	for told := false; ; told = true {
		result, err := do()
		reason := console.ReasonCode(err)
		if reason != repository.ReasonLocked && reason != repository.ReasonConflict {
			return result, err
		}
		if !told && over.Err() == nil {
			v.logger.Info("waits for another command to end", "reason", reason)
		}
		select {
		case <-over.Done():
			return result, err
		case <-time.After(interval):
		}
	}
}

// lockingFlags are the flags of commands that sign, and lock the repository.
func lockingFlags() []cli.Flag { return append(keysFlags(), waitFlag()) }
