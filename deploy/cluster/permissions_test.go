package cluster_test

import (
	"slices"
	"strings"
	"testing"
)

// healthJob makes the health-check Job of the user again, under another name
// and with less patience, and with other pieces of its text replaced (old, new).
func (n *node) healthJob(t *testing.T, name string, replace ...string) {
	t.Helper()
	for doc := range strings.SplitSeq(n.kubectl(t, "kustomize", path("user/my-cluster")), "\n---\n") {
		if strings.Contains(doc, "\nkind: Job\n") {
			pairs := append([]string{"name: tufboot-healthcheck\n  namespace", "name: " + name + "\n  namespace", "--wait=10m", "--wait=1s"}, replace...)
			for i := 0; i < len(pairs); i += 2 {
				if !strings.Contains(doc, pairs[i]) {
					t.Fatalf("no %q in\n%s", pairs[i], doc)
				}
			}
			n.create(t, strings.NewReplacer(pairs...).Replace(doc))
			return
		}
	}
	t.Fatal("the user has no Job")
}

// unhealthy waits for a health-check Job that has to fail with exit code 5, and
// wants these texts in what `kubectl describe pod` says.
func (n *node) unhealthy(t *testing.T, name string, want ...string) {
	t.Helper()
	failed, pods := n.finished(t, name)
	if failed == "" || len(pods) != 1 {
		t.Fatalf("the Job %s: %q, %d pods", name, failed, len(pods))
	}
	end := pods[0].Status.ContainerStatuses[0].State.Terminated
	if end.ExitCode != 5 {
		t.Errorf("%s: exit code %d", name, end.ExitCode)
	}
	has(t, end.Message, want...)
}

// testPermissions: each verb that is taken away breaks what it is there for, and
// there are no others.
func (n *node) testPermissions(t *testing.T) {
	if more := n.allowedBeyondDefault(t, "tufboot-update"); len(more) > 0 {
		t.Errorf("the update may: %q", more)
	}
	if more := n.allowedBeyondDefault(t, "tufboot-healthcheck"); !slices.Equal(more, []string{"[/readyz] [] [get]", "nodes [] [] [get]"}) {
		t.Errorf("the health check may: %q", more)
	}

	// A hardened cluster: nobody may ask how the API server is without being
	// allowed to. The defaults would hide what the rule for /readyz does.
	n.kubectl(t, "delete", "clusterrolebinding", "system:public-info-viewer", "system:discovery")
	if out, err := n.Kubectl("auth", "can-i", "get", "/readyz", "--as=system:serviceaccount:tufboot:default"); err == nil {
		t.Errorf("anyone may ask for /readyz: %s", out)
	}
	n.healthJob(t, "hardened")
	has(t, n.complete(t, "hardened"), `"healthy": true`)

	role := n.kubectl(t, "get", "clusterrole", "tufboot-healthcheck", "-o", "json")
	for i, tt := range []struct{ name, fails, message string }{
		{"no-nodes", "node-ready", `cannot get resource \"nodes\"`},
		{"no-readyz", "api-server", `cannot get path \"/readyz\"`},
	} {
		n.kubectl(t, "patch", "clusterrole", "tufboot-healthcheck", "--type=json", "-p", `[{"op":"remove","path":"/rules/`+string(rune('0'+i))+`"}]`)
		n.healthJob(t, tt.name)
		n.unhealthy(t, tt.name, tt.fails+": ", "lacks the permission", tt.message)
		if _, err := n.KubectlWith(role, "replace", "--force", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	n.healthJob(t, "no-token", "automountServiceAccountToken: true", "automountServiceAccountToken: false")
	n.unhealthy(t, "no-token", "api-server: no way to reach the API server", "node-ready: no way to reach the API server")
}

// allowedBeyondDefault returns what a service account of the namespace may do that
// one without any rights may not, as `kubectl auth can-i --list` says it.
func (n *node) allowedBeyondDefault(t *testing.T, account string) (more []string) {
	t.Helper()
	list := func(account string) []string {
		out := n.kubectl(t, "auth", "can-i", "--list", "--no-headers", "-n", namespace, "--as", "system:serviceaccount:"+namespace+":"+account)
		var lines []string
		for line := range strings.Lines(out) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		return lines
	}
	all, basic := list(account), list("default")
	for _, line := range all {
		// The same rule may be there twice, by default and by ours.
		if i := slices.Index(basic, line); i >= 0 {
			basic = slices.Delete(basic, i, i+1)
			continue
		}
		more = append(more, line)
	}
	slices.Sort(more)
	return more
}
