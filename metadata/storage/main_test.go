package storage_test

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writeFolder); dir != "" {
		writeForEver(dir)
	}
	if dir := os.Getenv(fillFolder); dir != "" {
		fill(dir)
	}
	// Tests of faults wait, most of the time, for the next try of a client.
	flag.Parse()
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
