// Package cluster runs a single-node Kubernetes for tests: etcd, the control
// plane, containerd and a kubelet, all of them real, on this machine and yet apart
// from it.
//
// Everything runs in mount, process, network, host name and IPC namespaces of its
// own (see Isolate), where /etc, /run, /var/lib and /var/log belong to the test.
// So the manifests in deploy/ are applied as they are, with the paths of a real
// node, the usual ports are free, and one process whose end takes all others, all
// mounts and all network devices with it stands for the machine. What a namespace
// does not hold, loop devices and control groups, is cleaned up by name.
//
// The test files use it; see the Makefile's target test-cluster.
package cluster
