// Package confine takes from the running process what it does not go on to need.
//
// The agent has to be root: it opens block devices and mounts file systems. It does
// not have to start programs, load code into the kernel, trace other processes, change
// what is mounted where, accept connections, or make memory executable; should somebody
// find a way to have it do other things than it is written to do, then not these.
//
// Two means, each of them for all threads and for good:
//
//   - Capabilities (capabilities(7)) that are not needed leave the bounding and the
//     process' own sets.
//   - A seccomp filter (seccomp(2)) refuses system calls with EPERM. It names what is
//     refused and not what is allowed: what a later Go runtime begins to call must not
//     make an update fail. no_new_privs comes with it.
//
// What was looked at and left:
//
//   - Landlock knows a file by the folders above it up to the root of the process. A
//     detached mount hangs nowhere, so in a Landlock domain no file of a slot can be
//     opened for any right that the domain governs (TestLandlock); governing only what
//     is never done in a slot would forbid nothing that the filter does not.
//   - A mount namespace cannot be entered by all threads of a process, so it would cost
//     a second start of the program. systemd (PrivateMounts=) and the pod bring theirs.
//   - DAC_OVERRIDE is kept by the agent: an ESP that is mounted for another user, or
//     somebody's folder as repository, has to stay usable, and nearly all that matters
//     on a node belongs to root, who needs no such capability for it.
//
// None of it keeps a root process from what its devices hold. See docs/security.md.
package confine
