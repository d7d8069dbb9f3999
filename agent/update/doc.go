// Package update is the transaction that moves a node from one release to the
// next, and what happens after the reboot.
//
// # Parties
//
//   - the TUF repository (metadata/client): says what the node should run and
//     proves it;
//   - the inactive slot (image): the only partition that is written;
//   - the environment block on the ESP (grub): the one place that decides what
//     boots, shared with GRUB;
//   - the state folder on DATA (State): what the agent remembers between runs.
//     Everything in it can be lost without harm to what boots.
//
// # The order of writes is the safety argument
//
// What can be found to stand in the way is found before the first of them
// (prepare.go), also that the server lacks an artifact.
//
//  1. last-good names the booted slot, and then X_ok=0 for the inactive one,
//     each synced. From here a crash leaves the booted slot committed and the
//     other unbootable: GRUB cannot choose a slot that is being written, not
//     even when the block is lost.
//  2. Artifacts go into the slot under names that GRUB does not look for, are
//     length- and hash-checked on the way, fsynced and renamed. Behind the
//     writes the same blocks are read back from the device. A slot that holds
//     the release already is read back and not written. What the slots hold of
//     an artifact is copied (delta.go); it is checked like what is fetched, so
//     whatever it is costs traffic and nothing else.
//  3. The slot is unmounted, so that its journal is checkpointed (GRUB replays
//     none). A fresh mount proves that the files consist of the blocks that were
//     read back; what is not proven is read now, past the page cache. What is
//     compared is what the device holds, either way.
//  4. State.Staged is written: this slot holds this release, whole.
//  5. State.Trial is written before the block: if the block says that a trial
//     was armed, the state already knows which release it was, so that a
//     rollback can be told from a crash before arming by the boot_id alone.
//  6. One write of one sector arms the trial. Before it the machine boots the
//     old release, after it the new one, counted.
//  7. After the boot the gate marks the trial good in one write of one sector,
//     then refreshes last-good, then clears State.Trial. A crash between them
//     is settled at the next run, since each step can be seen in the block.
//
// Each step can be killed at any instruction and run again.
package update
