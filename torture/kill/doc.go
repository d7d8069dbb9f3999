//go:build linux && amd64

// Package kill kills the real programs at every system call that changes what
// outlives them, before it has an effect and after, starts them again, and judges
// what it finds.
//
// A node is a disk on a loop device, with real file systems; a repository is made and
// served as in use. Only the boot is played, by the model that package grub proves
// against GRUB itself. A kill takes nothing from what the kernel holds; what a power
// cut takes is tried by package main beside this one.
//
// It needs root.
package kill
