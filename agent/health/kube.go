package health

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
)

const (
	maxReadyz = 64 << 10 // bytes of a readyz answer; a verbose one has 3 KiB
	maxNode   = 8 << 20  // bytes of a Node object; etcd takes no object above 1.5 MiB
)

// bootIDFile holds a random name of the running boot, made by the kernel; see random(4).
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// KubeOptions says how to reach the API server and as whom. The zero value
// looks for credentials as described at KubeOptions.Kubeconfig.
//
// Credentials are looked for anew at each run of a check, since the files of a
// node that has just booted may not be there yet.
type KubeOptions struct {
	// Kubeconfig is the path of a kubeconfig file. When it is empty, the first of
	// these that exists is used, and a failure to use it is not papered over by
	// the next one:
	//  1. the file that the environment variable KUBECONFIG names;
	//  2. the pod's service account (KUBERNETES_SERVICE_HOST and the token file);
	//  3. the files of DefaultKubeconfigs, in that order.
	Kubeconfig string

	// Getenv reads the environment; nil: os.Getenv.
	Getenv func(string) string

	// ServiceAccountDir is where a pod finds token and ca.crt; "": the folder that
	// Kubernetes mounts.
	ServiceAccountDir string

	// DefaultKubeconfigs are the paths tried last; nil: the function of that name.
	DefaultKubeconfigs []string

	// BootIDFile holds the id of the running boot; "": the kernel's.
	BootIDFile string

	Logger *slog.Logger // for warnings; nil: no log
}

// DefaultKubeconfigs returns where the usual distributions keep a kubeconfig on
// the node, in the order in which they are tried. A kubelet's own comes before
// an administrator's, since it may do less.
func DefaultKubeconfigs() []string {
	return []string{
		"/etc/kubernetes/kubelet.conf",                         // kubeadm, every node
		"/etc/kubernetes/admin.conf",                           // kubeadm, control plane
		"/etc/rancher/k3s/k3s.yaml",                            // k3s, server
		"/var/lib/rancher/k3s/agent/kubelet.kubeconfig",        // k3s, agent
		"/etc/rancher/rke2/rke2.yaml",                          // RKE2, server
		"/var/lib/rancher/rke2/agent/kubelet.kubeconfig",       // RKE2, agent
		"/var/lib/k0s/kubelet.conf",                            // k0s, worker
		"/var/lib/k0s/pki/admin.conf",                          // k0s, controller
		"/var/snap/microk8s/current/credentials/client.config", // MicroK8s
	}
}

// APIServer returns a check that passes when the API server answers "ok" on
// /readyz.
func APIServer(o KubeOptions) Check { return apiServer{newKube(o)} }

type apiServer struct{ *kube }

func (apiServer) Name() string { return "api-server" }

func (c apiServer) Run(ctx context.Context) error {
	body, err := c.get(ctx, "/readyz", maxReadyz)
	if err != nil {
		return err
	}
	if s := string(bytes.TrimSpace(body)); s != "ok" {
		return fmt.Errorf("readyz answered %q instead of ok: is this a Kubernetes API server?", clean(s))
	}
	return nil
}

// NodeReady returns a check that passes when the condition Ready of this node
// is True and was reported by the kubelet of the running boot: for some time
// after a reboot the API server still holds what the kubelet said before it.
// Whether the node is cordoned or tainted plays no part: an operator may have
// drained it for the very update that is on trial.
//
// An empty name means the host name in lower case, which is what a kubelet
// calls its node by default.
func NodeReady(o KubeOptions, name string) Check { return nodeReady{newKube(o), name} }

type nodeReady struct {
	*kube
	name string
}

func (nodeReady) Name() string { return "node-ready" }

func (c nodeReady) Run(ctx context.Context) error {
	name, err := nodeName(c.name)
	if err != nil {
		return err
	}
	bootID, err := os.ReadFile(c.BootIDFile)
	if err != nil {
		return fmt.Errorf("id of the running boot: %w", err)
	}
	body, err := c.get(ctx, "/api/v1/nodes/"+name, maxNode)
	if err != nil {
		return err
	}
	var n node
	if err := json.Unmarshal(body, &n); err != nil {
		return fmt.Errorf("node %s: answer of the API server: %w", name, err)
	}
	if err := n.ready(name, strings.TrimSpace(string(bootID))); err != nil {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return nil
}

// nodeNames is what Kubernetes allows: a DNS subdomain (RFC 1123), which is
// also safe as a path segment.
var nodeNames = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func nodeName(name string) (string, error) {
	if name == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("name of this node: %w", err)
		}
		name = strings.ToLower(strings.TrimSpace(host))
	}
	if len(name) > 253 || !nodeNames.MatchString(name) {
		return "", fmt.Errorf("%q cannot be the name of a node", clean(name))
	}
	return name, nil
}

// node is what is read of a v1.Node.
type node struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Status struct {
		Conditions []condition `json:"conditions"`
		NodeInfo   struct {
			BootID string `json:"bootID"`
		} `json:"nodeInfo"`
	} `json:"status"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (n *node) ready(name, bootID string) error {
	if n.Kind != "Node" || n.Metadata.Name != name {
		return fmt.Errorf("the API server answered with the %s %q", clean(n.Kind), clean(n.Metadata.Name))
	}
	if n.Status.NodeInfo.BootID != bootID {
		return fmt.Errorf("the kubelet has not reported since this boot (%s): the API server still shows boot %q",
			bootID, clean(n.Status.NodeInfo.BootID))
	}
	for _, c := range n.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status == "True" {
			return nil
		}
		return fmt.Errorf("the condition Ready is %s: %s: %s", clean(c.Status), clean(c.Reason), clean(c.Message))
	}
	return errors.New("the kubelet has not reported the condition Ready")
}
