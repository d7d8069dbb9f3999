package cluster_test

import (
	"errors"
	"strings"
	"testing"
)

var errNotYet = errors.New("not yet")

// validate has the API server look at a folder as it would at `kubectl apply -k`,
// and returns what it says of each object. Warnings are errors.
func (n *node) validate(folder string) (string, error) {
	return n.Kubectl("apply", "-k", folder, "--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
}

// testManifests: the API server takes every object in deploy/, without a warning.
func (n *node) testManifests(t *testing.T) {
	for folder, want := range map[string][]string{
		"kubernetes/base": {
			"namespace/tufboot", "configmap/tufboot-agent", "serviceaccount/tufboot-update", "serviceaccount/tufboot-healthcheck",
			"clusterrole.rbac.authorization.k8s.io/tufboot-healthcheck", "clusterrolebinding.rbac.authorization.k8s.io/tufboot-healthcheck",
			"cronjob.batch/tufboot-update", "job.batch/tufboot-healthcheck",
		},
		"repository/kubernetes": {"namespace/", "cronjob.batch/tufboot-refresh", "configmap/tufboot-refresh", "serviceaccount/tufboot-refresh"},
	} {
		dir := source + "/deploy/" + folder
		// Objects in a namespace are looked at only when it is there.
		n.kubectl(t, "create", "-f", dir+"/namespace.yaml")
		out, err := n.validate(dir)
		if err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		has(t, out, want...)
		if strings.Count(out, "\n") > len(want) {
			t.Errorf("%s: more objects than expected:\n%s", folder, out)
		}
	}
}

// testRefusedManifests: the validation above does refuse.
func (n *node) testRefusedManifests(t *testing.T) {
	for name, edit := range map[string]struct{ from, to, want string }{
		"unknown field":  {"concurrencyPolicy:", "concurrencyPolice:", "concurrencyPolice"},
		"wrong value":    {"restartPolicy: Never", "restartPolicy: OnFailure", "podFailurePolicy"},
		"wrong schedule": {"17 */6 * * *", "17 */6 * *", "schedule"},
	} {
		dir := path("refused")
		output(t, "rm", "-rf", dir)
		output(t, "cp", "-r", source+"/deploy/kubernetes/base", dir)
		text := read(t, dir+"/update-cronjob.yaml")
		write(t, dir+"/update-cronjob.yaml", []byte(strings.Replace(text, edit.from, edit.to, 1)))
		if _, err := n.validate(dir); err == nil || !strings.Contains(err.Error(), edit.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// testApply: what a user does makes a CronJob, and a Job that finds the node
// healthy by its service account and containerd's socket.
func (n *node) testApply(t *testing.T) {
	n.repository = newRepository(t)
	attachDisk(t)
	booted(t, "A", "0000000000000000", 0)
	n.kubectl(t, "apply", "-k", overlay(t))
	has(t, n.complete(t, "tufboot-healthcheck"), `"healthy": true`, `"containerd"`, `"api-server"`, `"node-ready"`)
}
