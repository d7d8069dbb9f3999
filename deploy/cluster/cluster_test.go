package cluster_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tufboot/deploy/cluster"
)

// node is a cluster of one node, for the tests below.
type node struct {
	*cluster.Cluster
	repository *repository
}

// TestCluster starts Kubernetes once and tries everything on it.
func TestCluster(t *testing.T) {
	n := startNode(t)
	for _, step := range []struct {
		name string
		try  func(*testing.T)
	}{
		{"manifests", n.testManifests},
		{"refused manifests", n.testRefusedManifests},
		{"guide", n.testGuide},
		{"pod security", n.testPodSecurity},
		{"permissions", n.testPermissions},
		{"missing folder", n.testMissingFolder},
		{"server down", n.testServerDown},
		{"update", n.testUpdate},
		{"trial pending", n.testTrialPending},
		{"gate", n.testGate},
	} {
		if !t.Run(step.name, step.try) {
			return // the next one begins where this one ends
		}
	}
}

func startNode(t *testing.T) *node {
	t.Helper()
	c, err := cluster.New(filepath.Join(cluster.Dir(), "kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Cluster: c}
	t.Cleanup(func() { n.showLogs(t) })
	begin := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the API server is ready after %v", time.Since(begin))
	if err := c.Await(time.Minute*2, "the node is Ready", func() error { return n.readyIs("True") }); err != nil {
		t.Fatal(err)
	}
	t.Logf("the node is Ready after %v", time.Since(begin))
	for _, image := range []string{"pause.tar", "agent.tar"} {
		if err := c.Import(filepath.Join(cluster.Dir(), image)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// readyIs returns an error unless the node's condition Ready is this.
func (n *node) readyIs(want string) error {
	out, err := n.Kubectl("get", "node", cluster.NodeName, "-o", "json")
	if err != nil {
		return err
	}
	var o struct {
		Status struct {
			Conditions []struct{ Type, Status, Reason, Message string }
		}
	}
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return err
	}
	for _, c := range o.Status.Conditions {
		if c.Type == "Ready" && c.Status == want {
			return nil
		} else if c.Type == "Ready" {
			return fmt.Errorf("Ready is %s: %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	return fmt.Errorf("no condition Ready")
}

// showLogs shows the end of each part's log when the test has failed.
func (n *node) showLogs(t *testing.T) {
	if !t.Failed() {
		return
	}
	for _, p := range []*cluster.Process{n.Etcd, n.APIServer, n.ControllerManager, n.Scheduler, n.Containerd, n.Kubelet} {
		data, _ := os.ReadFile(p.Log)
		t.Logf("the end of %s:\n%s", p.Log, data[max(0, len(data)-3000):])
	}
}
