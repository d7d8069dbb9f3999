package cluster

import (
	"encoding/json"
	"fmt"
)

// apiServerFlags are those of a kubeadm cluster where they matter to us: who a
// client is, and what it may do.
func apiServerFlags() []string {
	return []string{
		"--etcd-servers=http://127.0.0.1:2379",
		"--secure-port=443", "--advertise-address=" + NodeAddress, "--service-cluster-ip-range=" + serviceRange,
		"--tls-cert-file=" + pkiDir + "/apiserver.crt", "--tls-private-key-file=" + pkiDir + "/apiserver.key",
		"--client-ca-file=" + pkiDir + "/ca.crt",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + pkiDir + "/apiserver-kubelet-client.client.crt",
		"--kubelet-client-key=" + pkiDir + "/apiserver-kubelet-client.client.key",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pkiDir + "/sa.crt", "--service-account-signing-key-file=" + pkiDir + "/sa.key",
	}
}

const kubeletConfigFile = "/var/lib/kubelet/config.yaml"

// kubeletConfig is completed with the control group of all pods. A kubelet reports
// more often than by default (every 10 s), so that tests need not wait; images and
// disks are never cleaned up, since the machine's own disk may be almost full.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupRoot: %s
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
volumePluginDir: /var/lib/kubelet/volumeplugins
tlsCertFile: ` + pkiDir + `/kubelet.crt
tlsPrivateKeyFile: ` + pkiDir + `/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: ` + pkiDir + `/ca.crt}
authorization: {mode: Webhook}
registerWithTaints:
- {key: node-role.kubernetes.io/control-plane, effect: NoSchedule}
nodeStatusUpdateFrequency: 1s
nodeLeaseDurationSeconds: 4
syncFrequency: 10s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: 50Mi
  nodefs.available: 0%%
  nodefs.inodesFree: 0%%
  imagefs.available: 0%%
  imagefs.inodesFree: 0%%
`

// PauseImage is the image beside each pod's containers; see package pause.
const PauseImage = "registry.example.com/pause:1"

// containerdConfig copies images instead of layering them, which works on every
// file system.
const containerdConfig = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + PauseImage + `"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      privileged_without_host_devices = false
      base_runtime_spec = "` + baseSpecFile + `"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
`

// cniConfig gives each pod a veth pair to the node, and no way out of it.
const cniConfig = `{
  "cniVersion": "0.4.0", "name": "pods", "type": "ptp", "ipMasq": false,
  "ipam": {"type": "host-local", "subnet": "` + podRange + `", "routes": [{"dst": "0.0.0.0/0"}]}
}
`

// baseSpecFile is what every container's OCI spec begins as.
const baseSpecFile = "/etc/containerd/base-spec.json"

// baseSpec is containerd's own base spec, and a hook that shows a container the
// kernel files that a test has written: each container has a /proc of its own.
func baseSpec(dir string) (string, error) {
	out, err := tool{}.run("ctr", "oci", "spec")
	if err != nil {
		return "", err
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(out), &spec); err != nil {
		return "", fmt.Errorf("ctr oci spec: %w", err)
	}
	// The hook is told of the container on its standard input (OCI runtime spec,
	// "State"), and runs before the container's root becomes the root.
	script := `bundle=$(sed 's/.*"bundle":"\([^"]*\)".*/\1/')` + "\n"
	for _, name := range []string{KernelCmdline, KernelBootID} {
		script += "mount --bind " + dir + name + ` "$bundle/rootfs` + name + `"` + "\n"
	}
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/bin/sh", "args": []string{"sh", "-ec", script}}}}
	text, err := json.Marshal(spec)
	return string(text), err
}
