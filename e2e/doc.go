// Package e2e holds the whole-system tests: a real disk image with real GRUB,
// real firmware and a real kernel in QEMU, updated from a real repository over
// HTTP, with power cuts in the middle. They need the Debian packages that
// scripts/deps lists, and no root.
//
// Package machine runs the machines, package lab makes what they run, and demo
// tells the same story to people.
package e2e
