package main

import (
	"os"
	"strings"
	"testing"
)

// TestYield gives every thread of this process the low priority and takes it
// back.
func TestYield(t *testing.T) {
	before, err := currentPriority()
	if err != nil {
		t.Fatal(err)
	}
	restore, err := yield()
	if err != nil {
		t.Fatal(err)
	}
	for id, nice := range niceOfThreads(t) {
		if nice != "10" {
			t.Errorf("thread %s has nice %s", id, nice)
		}
	}
	if got, err := currentPriority(); err != nil || got != lowPriority() {
		t.Errorf("got %+v, %v", got, err)
	}
	restore()
	if got, err := currentPriority(); err != nil || got != before {
		t.Errorf("restored %+v, %v; it was %+v", got, err, before)
	}
}

// niceOfThreads reads field 19 of proc_pid_stat(5).
func niceOfThreads(t *testing.T) map[string]string {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, thread := range threads {
		stat, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		all[thread.Name()] = strings.Fields(rest)[16]
	}
	return all
}
