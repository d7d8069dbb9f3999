// Package grub is the boot state of a node: the environment block that GRUB
// and the agent share, the transitions on it, and the grub.cfg that acts on it.
//
// # Parties
//
// The agent runs under Linux and moves the state forward: it marks a slot as
// not bootable before it writes to it, arms it for trial boots, and marks it
// good. GRUB runs before Linux and counts: it takes one off before each trial
// boot, and gives the slot up when nothing is left. Neither trusts the other to
// have finished: each write is one sector, so the next party finds the state
// before or after it and never one in between.
//
// # The order of writes is the safety argument
//
//  1. WriteLastGood(booted slot), if it is not that already. The slot to be
//     overwritten is then nobody's fallback, even if the block is lost.
//  2. Invalidate(X): X_ok=0, before the first byte of X changes. From here until
//     step 4 the active slot is committed and X is not booted by itself, whatever
//     is in it.
//  3. X is written, unmounted, read back and verified. No boot state changes.
//  4. Arm(X): active_slot=X boot_counter=3 boot_success=0 X_ok=1 boot_id=...,
//     one sector. Before it the old slot boots; after it X boots, counted.
//  5. GRUB, at each trial boot: counter-1, saved, read again, then X is booted.
//     A count that cannot be saved is not a trial: the other slot is booted, which
//     is proven. So X runs at most Attempts+MaxGiveBacks times without being proven.
//  6. Either MarkGood: boot_success=1, one sector, and then WriteLastGood(X);
//     or GRUB gives X up: X_ok=0 active_slot=other boot_success=1, one sector.
//     X_ok=0 stays until the next Arm(X), so there is no way back by itself.
//
// Between 5 and 6, GiveBack: a machine that is rebooted in good order before its trial
// is decided has said nothing against X, and the attempt is added again, one sector.
// At most MaxGiveBacks times a trial, so each trial still ends.
//
// A crash between any two steps leaves the state of the step before, and each
// step can be done again. The slot that is neither active nor being written keeps
// X_ok=1 only if it was proven once (or the disk's builder put it there): that is
// why GRUB may boot it without counting.
//
// # The file
//
// The block is 1024 bytes on a FAT partition (the ESP). FAT has no atomic
// rename, and GRUB finds the block through its directory entry and writes it
// through its sectors. So the file is never replaced and never truncated: what
// changes is written in place, and all of our variables lie in the first sector
// with values of fixed width. active_slot is the last of them: a block that is
// cut short anywhere before its end lacks it, and a block that lacks one of our
// variables is damaged for GRUB and for the agent alike.
//
// The block's format is that of GRUB 2.06 (grub-core/lib/envblk.c,
// grub-core/commands/loadenv.c, util/grub-editenv.c); the package needs nothing
// of any later version or of a distribution's patches.
package grub
