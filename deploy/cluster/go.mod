// The cluster test is a module of its own, so that tufboot depends on nothing of
// it; and apart from kubernetes/go.mod, so that the test itself builds in a moment.
module tufboot/deploy/cluster

go 1.26.0
