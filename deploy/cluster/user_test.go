package cluster_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"tufboot/deploy/cluster"
)

const namespace = "tufboot"

// kubectl runs kubectl, which has to succeed.
func (n *node) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := n.Kubectl(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// create makes an object out of its JSON or YAML.
func (n *node) create(t *testing.T, text string) {
	t.Helper()
	if _, err := n.KubectlWith(text, "create", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// page is the guide whose blocks are run as they stand.
const page = source + "/docs/kubernetes.md"

// blocks returns the indented blocks of a section of the page.
func blocks(t *testing.T, section string) (all []string) {
	t.Helper()
	_, text, found := strings.Cut(read(t, page), "\n## "+section+"\n")
	if !found {
		t.Fatalf("%s has no section %q", page, section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	block := ""
	for line := range strings.Lines(text + "\n.\n") {
		if code, indented := strings.CutPrefix(line, "    "); indented {
			block += code
		} else if block != "" {
			all = append(all, block)
			block = ""
		}
	}
	return all
}

// shell runs a block in the folder of a user who has a checkout of the project.
func (n *node) shell(t *testing.T, block string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", block)
	cmd.Dir = path("user")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+cluster.AdminKubeconfig, "PATH="+path("kubernetes")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, block, out)
	}
	return string(out)
}

// testMachine adds to a user's folder what is of this test alone: the kernel of a
// test machine may have no vfat, so the environment block is a file.
func testMachine(t *testing.T) {
	t.Helper()
	file := path("user/my-cluster/kustomization.yaml")
	write(t, file, []byte(read(t, file)+`patches:
- target: {kind: CronJob}
  patch: |
    - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/env/-, value: {name: TUFBOOT_GRUBENV, value: /esp/grubenv}}
    - {op: add, path: /spec/jobTemplate/spec/template/spec/containers/0/volumeMounts/-, value: {name: esp, mountPath: /esp}}
    - {op: add, path: /spec/jobTemplate/spec/template/spec/volumes/-, value: {name: esp, hostPath: {path: `+path("esp")+`, type: Directory}}}
`))
}

// job is as much of a Job and its pods as the tests look at.
type job struct {
	Status struct {
		Succeeded, Failed int
		Conditions        []struct{ Type, Status, Reason, Message string }
	}
}

type pod struct {
	Metadata struct{ Name string }
	Status   struct {
		Phase             string
		ContainerStatuses []struct {
			State struct {
				Terminated *struct {
					ExitCode int
					Message  string
				}
			}
		}
	}
}

// start makes a Job of the CronJob that begins at once, as the README shows it,
// with these variables changed too ("NAME=value").
func (n *node) start(t *testing.T, name string, env ...string) {
	t.Helper()
	args := append([]string{"set", "env", "--local", "-f", "-", "-o", "yaml", "TUFBOOT_SPLAY=0"}, env...)
	text, err := n.KubectlWith(n.newJob(t, name), args...)
	must(t, err)
	n.create(t, text)
}

// startWith is start with a piece of the Job's text replaced.
func (n *node) startWith(t *testing.T, name, from, to string) {
	t.Helper()
	text := n.newJob(t, name)
	for _, piece := range []string{from, "value: 30m"} {
		if !strings.Contains(text, piece) {
			t.Fatalf("no %q in\n%s", piece, text)
		}
	}
	n.create(t, strings.NewReplacer(from, to, "value: 30m", "value: 0s").Replace(text))
}

func (n *node) newJob(t *testing.T, name string) string {
	t.Helper()
	return n.kubectl(t, "-n", namespace, "create", "job", "--from=cronjob/tufboot-update", name, "--dry-run=client", "-o", "yaml")
}

// finished waits for the end of a Job and returns the reason that it failed for,
// or "" when it is complete, and its pods.
func (n *node) finished(t *testing.T, name string) (failed string, pods []pod) {
	t.Helper()
	var j job
	err := n.Await(3*time.Minute, "the Job "+name+" ends", func() error {
		out, err := n.Kubectl("-n", namespace, "get", "job", name, "-o", "json")
		if err != nil {
			return err
		}
		j = job{}
		if err := json.Unmarshal([]byte(out), &j); err != nil {
			return err
		}
		for _, c := range j.Status.Conditions {
			if c.Status == "True" && (c.Type == "Complete" || c.Type == "Failed") {
				return nil
			}
		}
		return errNotYet
	})
	pods = n.pods(t, name)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, n.kubectl(t, "-n", namespace, "describe", "pods"), n.logs(t, name))
	}
	for _, c := range j.Status.Conditions {
		if c.Type == "Failed" {
			return c.Reason + ": " + c.Message, pods
		}
	}
	return "", pods
}

func (n *node) pods(t *testing.T, job string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	out := n.kubectl(t, "-n", namespace, "get", "pods", "-l", "batch.kubernetes.io/job-name="+job, "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func (n *node) logs(t *testing.T, job string) string {
	t.Helper()
	return n.kubectl(t, "-n", namespace, "logs", "-l", "batch.kubernetes.io/job-name="+job, "--tail=-1")
}

// complete waits for a Job, which has to be complete, and returns its log.
func (n *node) complete(t *testing.T, name string) string {
	t.Helper()
	failed, _ := n.finished(t, name)
	log := n.logs(t, name)
	if failed != "" {
		t.Fatalf("the Job %s failed: %s\n%s", name, failed, log)
	}
	return log
}

// has fails the test unless text has all of these in it.
func has(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in\n%s", w, text)
		}
	}
}
