package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Cluster is a single node with its control plane.
type Cluster struct {
	Etcd, APIServer, ControllerManager, Scheduler, Containerd, Kubelet *Process

	programs string // the folder of the Kubernetes programs
}

// New lays out the files of a cluster whose Kubernetes programs are in a folder.
// It works only within Isolate.
func New(programs string) (*Cluster, error) {
	if err := writePKI(); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	spec, err := baseSpec(Dir())
	if err != nil {
		return nil, err
	}
	for path, text := range map[string]string{
		baseSpecFile:                  spec,
		"/etc/containerd/config.toml": containerdConfig,
		"/etc/cni/net.d/10-pods.conf": cniConfig,
		kubeletConfigFile:             fmt.Sprintf(kubeletConfig, cgroupName(Dir())),
	} {
		if err := writeFile(path, text); err != nil {
			return nil, err
		}
	}
	kube := func(name string, args ...string) *Process {
		return newProcess(name, filepath.Join(programs, name), args...)
	}
	conf := func(name string) string { return "--kubeconfig=" + kubernetesDir + "/" + name + ".conf" }
	return &Cluster{
		programs:  programs,
		Etcd:      newProcess("etcd", "etcd", "--data-dir=/var/lib/etcd", "--logger=zap"),
		APIServer: kube("kube-apiserver", apiServerFlags()...),
		ControllerManager: kube("kube-controller-manager", conf("controller-manager"), "--use-service-account-credentials", "--leader-elect=false",
			"--service-account-private-key-file="+pkiDir+"/sa.key", "--root-ca-file="+pkiDir+"/ca.crt",
			"--node-monitor-period=1s", "--node-monitor-grace-period=8s"), // 5s and 50s are the defaults
		Scheduler:  kube("kube-scheduler", conf("scheduler"), "--leader-elect=false"),
		Containerd: newProcess("containerd", "containerd"),
		Kubelet: kube("kubelet", conf("kubelet"), "--config="+kubeletConfigFile, "--node-ip="+NodeAddress, "--hostname-override="+NodeName,
			"--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki"),
	}, nil
}

func (c *Cluster) processes() []*Process {
	return []*Process{c.Etcd, c.APIServer, c.ControllerManager, c.Scheduler, c.Containerd, c.Kubelet}
}

// Start starts everything and returns when the API server is ready. The node joins
// a little later.
func (c *Cluster) Start() error {
	for _, p := range c.processes() {
		if err := p.Start(); err != nil {
			return err
		}
		var err error
		switch p {
		case c.APIServer:
			err = c.Await(3*time.Minute, "the API server is ready", c.ready)
		case c.Containerd: // a kubelet ends when it is not there
			err = c.Await(time.Minute, "containerd answers", answers)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func answers() error {
	_, err := tool{}.run("ctr", "version")
	return err
}

func (c *Cluster) ready() error {
	_, err := c.Kubectl("get", "--raw=/readyz")
	return err
}

// Await calls check until it returns nil, and gives up after limit, or when a part
// of the cluster has ended that was not stopped.
func (c *Cluster) Await(limit time.Duration, what string, check func() error) error {
	for end := time.Now().Add(limit); ; time.Sleep(200 * time.Millisecond) {
		err := check()
		if err == nil {
			return nil
		}
		for _, p := range c.processes() {
			if gone := p.ended(); p.cmd != nil && gone != nil {
				return fmt.Errorf("%s: %w; %w", what, gone, err)
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: not within %v: %w", what, limit, err)
		}
	}
}

// Kubectl runs kubectl as the cluster's administrator and returns its standard
// output; standard error is part of the error.
func (c *Cluster) Kubectl(args ...string) (string, error) { return c.KubectlWith("", args...) }

// KubectlWith is Kubectl with a standard input.
func (c *Cluster) KubectlWith(stdin string, args ...string) (string, error) {
	kubectl := tool{stdin: stdin, env: append(os.Environ(), "KUBECONFIG="+AdminKubeconfig)}
	return kubectl.run(filepath.Join(c.programs, "kubectl"), args...)
}
