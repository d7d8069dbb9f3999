package cluster_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tufboot/deploy/cluster"
)

// verdict is what `agent healthcheck --json` prints.
type verdict struct {
	code    int
	Verdict string
	Health  struct {
		Rounds  int
		Results []struct {
			Name, Error string
			Passed      bool
		}
	}
	err error // the agent could not be run, or printed something else
}

// failure returns why a check failed, or "".
func (v verdict) failure(check string) string {
	for _, r := range v.Health.Results {
		if r.Name == check && !r.Passed {
			return r.Error
		}
	}
	return ""
}

// healthcheck runs the gate on the node, as its boot service does.
func healthcheck(t *testing.T, env []string, args ...string) verdict {
	t.Helper()
	_, result := startHealthcheck(env, args...)
	v := <-result
	if v.err != nil {
		t.Fatal(v.err)
	}
	return v
}

// startHealthcheck is healthcheck in the background; failing is closed when a check
// has failed.
func startHealthcheck(env []string, args ...string) (failing <-chan struct{}, result <-chan verdict) {
	watch := &watcher{text: "health check failed", seen: make(chan struct{})}
	done := make(chan verdict, 1)
	go func() {
		cmd := exec.Command(path("agent"), append([]string{"healthcheck", "--json"}, args...)...)
		cmd.Env = append(os.Environ(), env...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, watch
		err := cmd.Run()
		var v verdict
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			v.code = exit.ExitCode()
		} else if err != nil {
			v.err = err
		}
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			v.err = fmt.Errorf("agent healthcheck: exit code %d: %w: %s", v.code, err, &watch.all)
		}
		done <- v
	}()
	return watch.seen, done
}

// watcher keeps what is written and closes seen when the text is in it.
type watcher struct {
	text string
	seen chan struct{}
	once sync.Once
	all  bytes.Buffer
}

func (w *watcher) Write(p []byte) (int, error) {
	w.all.Write(p)
	if bytes.Contains(w.all.Bytes(), []byte(w.text)) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(p), nil
}

// configureGate writes the node's own configuration.
func configureGate(t *testing.T) {
	t.Helper()
	write(t, "/etc/tufboot/agent.yaml", []byte(`server: http://`+address+`
grubenv: `+path("esp/grubenv")+`
health:
  timeout: 5s
  interval: 500ms
  containerd: {enabled: true}
  api_server: {enabled: true}
  node_ready: {enabled: true}
`))
}

// testGate breaks what each check asks, sees that the gate says so, mends it, and
// sees that a gate that has been waiting all the time is content.
func (n *node) testGate(t *testing.T) {
	configureGate(t)
	// The cluster was hardened above: a kubelet's account may not ask for /readyz
	// either, until docs/kubernetes.md is followed.
	v := healthcheck(t, nil, "--report-only")
	has(t, v.failure("api-server"), "the user of kubeconfig "+cluster.KubeletKubeconfig+" lacks the permission")
	n.shell(t, blocks(t, "What each permission is for")[0])
	if v = healthcheck(t, nil, "--report-only"); v.code != 0 || len(v.Health.Results) != 3 {
		t.Fatalf("a healthy node: %+v", v)
	}
	stop := func(p *cluster.Process) func() error { return p.Stop }
	start := func(p *cluster.Process) func() error { return p.Start }
	for _, tt := range []struct {
		name       string
		harm, mend func() error
		check      string
		want       string
	}{
		{"containerd stopped", stop(n.Containerd), start(n.Containerd), "containerd", "/run/containerd/containerd.sock"},
		{"API server stopped", stop(n.APIServer), start(n.APIServer), "api-server", "connection refused"},
		{"readyz answers 500", stop(n.Etcd), start(n.Etcd), "api-server", "[-]etcd failed"},
		{"kubelet stopped", stop(n.Kubelet), start(n.Kubelet), "node-ready", "the condition Ready is Unknown: NodeStatusUnknown"},
		{"kubelet not up since the reboot", newBootID, n.restartKubelet, "node-ready", "the kubelet has not reported since this boot"},
	} {
		ok := t.Run(tt.name, func(t *testing.T) {
			must(t, tt.harm())
			var v verdict
			err := n.Await(time.Minute, "the gate sees it", func() error {
				if v = healthcheck(t, nil, "--report-only"); !strings.Contains(v.failure(tt.check), tt.want) {
					return fmt.Errorf("exit code %d: %+v", v.code, v.Health.Results)
				}
				return nil
			})
			if err != nil || v.code != 5 {
				t.Fatalf("exit code %d, %v", v.code, err)
			}
			failing, healed := startHealthcheck(nil, "--report-only", "--wait=2m")
			select {
			case <-failing:
			case v := <-healed:
				t.Fatalf("before it was mended: %+v", v)
			}
			must(t, tt.mend())
			if v := <-healed; v.err != nil || v.code != 0 || v.Health.Rounds < 2 {
				t.Errorf("after it was mended: %+v", v)
			}
			must(t, n.Await(time.Minute, "the node is Ready again", func() error { return n.readyIs("True") }))
		})
		if !ok {
			return // what was harmed is not mended
		}
	}
	t.Run("cordoned and tainted", n.testCordoned)
	t.Run("credentials", n.testCredentials)
	t.Run("trial", n.testTrial)
}

func newBootID() error {
	return os.WriteFile(cluster.KernelBootID, []byte("11111111-2222-3333-4444-555555555555\n"), 0o644)
}

func (n *node) restartKubelet() error { return errors.Join(n.Kubelet.Stop(), n.Kubelet.Start()) }

// testCordoned: a node that an operator has drained for the update is healthy.
func (n *node) testCordoned(t *testing.T) {
	n.kubectl(t, "cordon", cluster.NodeName)
	defer n.kubectl(t, "uncordon", cluster.NodeName)
	n.kubectl(t, "taint", "node", cluster.NodeName, "maintenance=yes:NoExecute")
	if v := healthcheck(t, nil, "--report-only"); v.code != 0 {
		t.Errorf("%+v", v)
	}
	// Nor does it keep the pods away.
	n.kubectl(t, "taint", "node", cluster.NodeName, "maintenance-")
	n.healthJob(t, "cordoned")
	has(t, n.complete(t, "cordoned"), `"healthy": true`)
	n.start(t, "update-cordoned")
	has(t, n.complete(t, "update-cordoned"), `"refused": "trial-pending"`)
}

// testCredentials: the gate says whose credentials it used, and without any it
// fails instead of leaving the question out.
func (n *node) testCredentials(t *testing.T) {
	token := strings.TrimSpace(n.kubectl(t, "-n", namespace, "create", "token", "tufboot-healthcheck"))
	conf := read(t, cluster.AdminKubeconfig)
	user := conf[strings.Index(conf, "  user:\n"):]
	write(t, path("token.conf"), []byte(strings.Replace(conf, user, "  user: {token: "+token+"}\n", 1)))
	write(t, path("nobody.conf"), []byte(strings.Replace(conf, user, "  user: {token: wrong}\n", 1)))

	for name, want := range map[string]string{"token.conf": "", "nobody.conf": "credentials of kubeconfig " + path("nobody.conf") + " are not accepted"} {
		v := healthcheck(t, []string{"KUBECONFIG=" + path(name)}, "--report-only")
		for _, check := range []string{"api-server", "node-ready"} {
			if got := v.failure(check); (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %s: %q", name, check, got)
			}
		}
	}

	for _, file := range []string{cluster.AdminKubeconfig, cluster.KubeletKubeconfig} {
		must(t, os.Rename(file, file+".away"))
		defer func() { must(t, os.Rename(file+".away", file)) }()
	}
	v := healthcheck(t, nil, "--report-only")
	for _, check := range []string{"api-server", "node-ready"} {
		has(t, v.failure(check), "no way to reach the API server", cluster.KubeletKubeconfig)
	}
	if v.code != 5 {
		t.Errorf("exit code %d", v.code)
	}
}

// testTrial: what all this is for. The trial that the CronJob's update led to is
// not committed while containerd is down, and is when it is up.
func (n *node) testTrial(t *testing.T) {
	must(t, n.Containerd.Stop())
	v := healthcheck(t, nil, "--wait=3s")
	if state := bootState(t); v.code != 5 || v.Verdict != "failed" || state["boot_success"] != "0" {
		t.Errorf("exit code %d, %q, %v", v.code, v.Verdict, state)
	}
	must(t, n.Containerd.Start())
	v = healthcheck(t, nil, "--wait=2m")
	if state := bootState(t); v.code != 0 || v.Verdict != "committed" || state["boot_success"] != "1" || state["active_slot"] != "B" {
		t.Errorf("exit code %d, %q, %v: %+v", v.code, v.Verdict, state, v)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
