// Package health asks whether the node that just booted is fit to stay on what
// it booted: is containerd serving, is the API server ready, is this node Ready,
// and do the operator's own checks pass.
//
// Its answer decides whether a trial boot is committed or given up, so a wrong
// "healthy" is worse than a late one. Three rules follow:
//
//   - Nothing passes by default. A check that cannot be made (no kubeconfig, a
//     drop-in that is not executable, an answer that is not understood) fails.
//   - Nothing hangs the gate. Each check has a time limit that ends it in the
//     eyes of the gate even when the check itself cannot be stopped; a check that
//     is still stuck is not started a second time.
//   - Nothing that the other side sends is believed to be small or well-formed.
//     Answers are read within bounds and decoded by hand where a library would
//     cost the node's binary megabytes.
//
// The gate must work when Kubernetes is what broke, so nothing here needs the
// cluster to answer: every failure is a value in the Report.
package health
