//go:build linux && amd64

// Package trace runs a program under ptrace, sees every system call by which it
// changes what outlives it, and can kill it at any of them.
//
// A filter (seccomp) that the program is started with stops it at these calls alone,
// so that it runs nearly as fast as without. The filter knows which calls are
// harmless, and not which ones change something: a call that is in neither list is an
// error of the run, and not overlooked.
package trace
