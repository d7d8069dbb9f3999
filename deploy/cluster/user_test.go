package cluster_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// overlay writes what a user writes: a folder of their own that refers to the base
// and says which server to ask. The patch is for this test alone, since the kernel
// of a test machine may have no vfat.
func overlay(t *testing.T) (dir string) {
	t.Helper()
	dir = path("overlay")
	base, err := filepath.Abs(source + "/deploy/kubernetes/base")
	if err != nil {
		t.Fatal(err)
	}
	if base, err = filepath.Rel(dir, base); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/kustomization.yaml", []byte(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: tufboot
resources:
- `+base+`
configMapGenerator:
- name: tufboot-agent
  behavior: merge
  files: [agent.yaml]
patches:
- path: test-machine.yaml
`))
	config := strings.Replace(read(t, source+"/deploy/kubernetes/base/agent.yaml"), "https://updates.example.com/tufboot", "http://"+address, 1)
	write(t, dir+"/agent.yaml", []byte(config))
	write(t, dir+"/test-machine.yaml", []byte(`apiVersion: batch/v1
kind: CronJob
metadata: {name: tufboot-update}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - name: agent
            env:
            - {name: TUFBOOT_GRUBENV, value: /esp/grubenv}
            volumeMounts:
            - {name: esp, mountPath: /esp}
          volumes:
          - name: esp
            hostPath: {path: `+path("esp")+`, type: Directory}
`))
	return dir
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

// start makes a Job of the CronJob, as the README shows it, with these variables
// changed ("NAME=value").
func (n *node) start(t *testing.T, name string, env ...string) {
	t.Helper()
	text := n.kubectl(t, "-n", namespace, "create", "job", "--from=cronjob/tufboot-update", name, "--dry-run=client", "-o", "yaml")
	if len(env) > 0 {
		var err error
		if text, err = n.KubectlWith(text, append([]string{"set", "env", "--local", "-f", "-", "-o", "yaml"}, env...)...); err != nil {
			t.Fatal(err)
		}
	}
	n.create(t, text)
}

// startWith is start with a piece of the Job's text replaced.
func (n *node) startWith(t *testing.T, name, from, to string) {
	t.Helper()
	text := n.kubectl(t, "-n", namespace, "create", "job", "--from=cronjob/tufboot-update", name, "--dry-run=client", "-o", "yaml")
	if !strings.Contains(text, from) {
		t.Fatalf("no %q in\n%s", from, text)
	}
	n.create(t, strings.Replace(text, from, to, 1))
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
