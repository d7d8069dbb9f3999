package cluster_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// guide is the section of the page that leads to a working node.
const guide = "A single node in ten minutes"

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

// testGuide: the guide's way to a cluster that looks after its node, up to a Job
// that finds the node healthy by its service account and containerd's socket.
// Applied again, nothing changes.
func (n *node) testGuide(t *testing.T) {
	n.repository = newRepository(t)
	attachDisk(t)
	booted(t, "A", "0000000000000000", 0)
	must(t, os.MkdirAll(path("user"), 0o755))
	checkout, err := filepath.Abs(source)
	must(t, err)
	must(t, os.Symlink(checkout+"/deploy", path("user/deploy")))
	write(t, path("user/root.json"), []byte(read(t, path("repo/metadata/1.root.json"))))

	all := blocks(t, guide)
	if len(all) != 5 || !strings.HasPrefix(all[1], "docker build") {
		t.Fatalf("the guide has changed: %q", all)
	}
	n.shell(t, all[0]) // the node
	n.shell(t, all[2]) // the user's folder
	testMachine(t)
	n.shell(t, all[3])
	has(t, n.logs(t, "tufboot-healthcheck"), `"healthy": true`, `"containerd"`, `"api-server"`, `"node-ready"`)
	for line := range strings.Lines(n.kubectl(t, "apply", "-k", path("user/my-cluster"))) {
		if !strings.HasSuffix(line, " unchanged\n") {
			t.Errorf("applied again: %s", line)
		}
	}
}

// testPodSecurity: the namespace names the level that the update needs; at the next
// one its pods are refused.
func (n *node) testPodSecurity(t *testing.T) {
	var job struct {
		Spec struct{ Template map[string]any }
	}
	text := n.kubectl(t, "-n", namespace, "create", "job", "--from=cronjob/tufboot-update", "any", "--dry-run=client", "-o", "json")
	must(t, json.Unmarshal([]byte(text), &job))
	pod := job.Spec.Template
	pod["apiVersion"], pod["kind"], pod["metadata"] = "v1", "Pod", map[string]string{"name": "any"}
	manifest, err := json.Marshal(pod)
	must(t, err)
	create := func() error {
		_, err := n.KubectlWith(string(manifest), "-n", namespace, "create", "--dry-run=server", "--warnings-as-errors", "-f", "-")
		return err
	}
	must(t, create())
	n.kubectl(t, "label", "namespace", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=baseline")
	if err := create(); err == nil || !strings.Contains(err.Error(), `violates PodSecurity "baseline:latest"`) {
		t.Errorf("at the level baseline: %v", err)
	}
	n.kubectl(t, "apply", "-k", path("user/my-cluster"))
	must(t, create())
}
