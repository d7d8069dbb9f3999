package deploy_test

import (
	"errors"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const base = "../kubernetes/base"

// manifests is the base as the API server would get it.
type manifests struct {
	namespace corev1.Namespace
	config    corev1.ConfigMap
	accounts  map[string]corev1.ServiceAccount
	role      rbacv1.ClusterRole
	binding   rbacv1.ClusterRoleBinding
	update    batchv1.CronJob
	check     batchv1.Job
}

// build runs kustomize over the base and decodes each object strictly: a field
// that its type does not have is an error.
func build(t *testing.T) manifests {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), base)
	if err != nil {
		t.Fatal(err)
	}
	m := manifests{accounts: map[string]corev1.ServiceAccount{}}
	var account corev1.ServiceAccount
	into := map[string]any{
		"v1 Namespace": &m.namespace, "v1 ConfigMap": &m.config, "v1 ServiceAccount": &account,
		"rbac.authorization.k8s.io/v1 ClusterRole": &m.role, "rbac.authorization.k8s.io/v1 ClusterRoleBinding": &m.binding,
		"batch/v1 CronJob": &m.update, "batch/v1 Job": &m.check,
	}
	seen := map[string]int{}
	for _, r := range resources.Resources() {
		kind := r.GetApiVersion() + " " + r.GetKind()
		target, known := into[kind]
		if !known {
			t.Fatalf("unexpected %s %s: the tests below know nothing of it", kind, r.GetName())
		}
		account = corev1.ServiceAccount{}
		if err := decodeStrict(r.MustYaml(), target); err != nil {
			t.Fatalf("%s %s: %v", kind, r.GetName(), err)
		}
		if kind == "v1 ServiceAccount" {
			m.accounts[account.Name] = account
		}
		seen[kind]++
	}
	want := map[string]int{
		"v1 Namespace": 1, "v1 ConfigMap": 1, "v1 ServiceAccount": 2, "rbac.authorization.k8s.io/v1 ClusterRole": 1,
		"rbac.authorization.k8s.io/v1 ClusterRoleBinding": 1, "batch/v1 CronJob": 1, "batch/v1 Job": 1,
	}
	if !reflect.DeepEqual(seen, want) {
		t.Fatalf("the base has %v, want %v", seen, want)
	}
	return m
}

// decodeStrict is what the API server does with fieldValidation=Strict: unknown
// and doubled fields are errors, and so is a name in the wrong case.
func decodeStrict(text string, into any) error {
	data, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(data, into)
	return errors.Join(append(strict, err)...)
}

func (m *manifests) pods() map[string]corev1.PodSpec {
	return map[string]corev1.PodSpec{
		"update": m.update.Spec.JobTemplate.Spec.Template.Spec,
		"check":  m.check.Spec.Template.Spec,
	}
}

// That the strictness is real: a misspelt field must not pass.
func TestDecodingIsStrict(t *testing.T) {
	for _, spec := range []string{"{concurrencyPolice: Forbid}", "{concurrencypolicy: Forbid}", "{suspend: true, suspend: false}"} {
		var job batchv1.CronJob
		if err := decodeStrict("apiVersion: batch/v1\nkind: CronJob\nspec: "+spec, &job); err == nil {
			t.Errorf("%s was accepted", spec)
		}
	}
}

func TestCronJob(t *testing.T) {
	m := build(t)
	s := m.update.Spec
	if !regexp.MustCompile(`^([1-9]|[1-5][0-9]) \*/6 \* \* \*$`).MatchString(s.Schedule) {
		t.Errorf("schedule %q: want every six hours, not on the hour", s.Schedule)
	}
	if s.TimeZone == nil || s.ConcurrencyPolicy != batchv1.ForbidConcurrent || s.StartingDeadlineSeconds == nil ||
		s.SuccessfulJobsHistoryLimit == nil || s.FailedJobsHistoryLimit == nil {
		t.Errorf("got %+v", s)
	}
	job := s.JobTemplate.Spec
	if job.BackoffLimit == nil || *job.BackoffLimit > 3 || job.ActiveDeadlineSeconds == nil || *job.ActiveDeadlineSeconds >= 6*3600 {
		t.Errorf("limits: %+v", job)
	}
	c := job.Template.Spec.Containers[0]
	if len(c.Args) == 0 || c.Args[0] != "update" || slices.Contains(c.Args, "--reboot") {
		t.Errorf("args %q", c.Args)
	}
	i := slices.IndexFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == "TUFBOOT_SPLAY" })
	if i < 0 {
		t.Fatal("all clusters with this schedule ask the server at once")
	}
	splay, err := time.ParseDuration(c.Env[i].Value)
	if err != nil || splay < 30*time.Minute || *job.ActiveDeadlineSeconds < int64((splay+2*time.Hour).Seconds()) {
		t.Errorf("splay %s (%v), %d s for all", c.Env[i].Value, err, *job.ActiveDeadlineSeconds)
	}
}

// A refusal, a verification failure and wrong usage are not tried again; the end
// of the node under the pod is not counted.
func TestExitCodesInTheFailurePolicy(t *testing.T) {
	m := build(t)
	job := m.update.Spec.JobTemplate.Spec
	if job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Fatal("podFailurePolicy needs restartPolicy Never")
	}
	want := &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{Action: batchv1.PodFailurePolicyActionFailJob, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
			ContainerName: &job.Template.Spec.Containers[0].Name, Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{2, 3, 4},
		}},
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue},
		}},
	}}
	if !reflect.DeepEqual(job.PodFailurePolicy, want) {
		t.Errorf("got %+v", job.PodFailurePolicy)
	}
}

func TestHealthCheckJob(t *testing.T) {
	m := build(t)
	s := m.check.Spec
	if s.BackoffLimit == nil || *s.BackoffLimit != 0 || s.ActiveDeadlineSeconds == nil || *s.ActiveDeadlineSeconds <= 600 || s.TTLSecondsAfterFinished == nil {
		t.Errorf("limits: %+v", s)
	}
	c := s.Template.Spec.Containers[0]
	if !slices.Contains(c.Args, "--report-only") || slices.Contains(c.Args, "--reboot-on-failure") {
		t.Errorf("args %q: the Job must decide nothing", c.Args)
	}
	want := []corev1.EnvVar{{Name: "NODE_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}}
	if !reflect.DeepEqual(c.Env, want) {
		t.Errorf("env %+v: want the node's name by the downward API", c.Env)
	}
}

// Every host path, with what it may be made of and how it is mounted. A new one
// has to be put here too, and explained in the manifest.
func TestHostPaths(t *testing.T) {
	m := build(t)
	want := map[string]map[string]string{
		"update": {
			"/etc/tufboot":     "Directory at /etc/tufboot, read-only",
			"/var/lib/tufboot": "Directory at /var/lib/tufboot",
			"/run/tufboot":     "DirectoryOrCreate at /run/tufboot",
		},
		"check": {"/run/containerd/containerd.sock": "Socket at /run/containerd/containerd.sock, read-only"},
	}
	for name, pod := range m.pods() {
		mounts := map[string]corev1.VolumeMount{}
		for _, vm := range pod.Containers[0].VolumeMounts {
			mounts[vm.Name] = vm
			if vm.MountPropagation != nil {
				t.Errorf("%s: mount %s propagates", name, vm.Name)
			}
		}
		got := map[string]string{}
		for _, v := range pod.Volumes {
			mount, mounted := mounts[v.Name]
			delete(mounts, v.Name)
			if !mounted {
				t.Errorf("%s: volume %s is mounted nowhere", name, v.Name)
			}
			if v.HostPath == nil {
				continue
			}
			how := string(*v.HostPath.Type) + " at " + mount.MountPath
			if mount.ReadOnly {
				how += ", read-only"
			}
			got[v.HostPath.Path] = how
		}
		if !reflect.DeepEqual(got, want[name]) {
			t.Errorf("%s: got %v, want %v", name, got, want[name])
		}
		if len(mounts) > 0 {
			t.Errorf("%s: mounts without a volume: %v", name, mounts)
		}
	}
}

func TestPrivileges(t *testing.T) {
	m := build(t)
	for name, pod := range m.pods() {
		if pod.HostNetwork || pod.HostPID || pod.HostIPC || len(pod.Containers) != 1 || len(pod.InitContainers) != 0 {
			t.Errorf("%s: %+v", name, pod)
		}
		c := pod.Containers[0]
		s := c.SecurityContext
		if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || !reflect.DeepEqual(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Fatalf("%s: %+v", name, s)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s: resources %+v", name, c.Resources)
		}
		wantCaps := map[string][]corev1.Capability{"update": {"SYS_ADMIN"}}[name]
		if !reflect.DeepEqual(s.Capabilities.Add, wantCaps) || *s.Privileged != (name == "update") {
			t.Errorf("%s: privileged %v, capabilities %v", name, *s.Privileged, s.Capabilities.Add)
		}
		if name == "check" && (s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault) {
			t.Errorf("check: %+v", s)
		}
	}
}

func TestRBACIsLeast(t *testing.T) {
	m := build(t)
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}},
		{NonResourceURLs: []string{"/readyz"}, Verbs: []string{"get"}},
	}
	if !reflect.DeepEqual(m.role.Rules, want) {
		t.Errorf("rules: %+v", m.role.Rules)
	}
	subjects := []rbacv1.Subject{{Kind: "ServiceAccount", Name: "tufboot-healthcheck", Namespace: "tufboot"}}
	if m.binding.RoleRef.Name != m.role.Name || !reflect.DeepEqual(m.binding.Subjects, subjects) {
		t.Errorf("binding: %+v", m.binding)
	}
	for pod, wantToken := range map[string]bool{"update": false, "check": true} {
		p := m.pods()[pod]
		account, known := m.accounts[p.ServiceAccountName]
		if !known || account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
			t.Errorf("%s: account %q: %+v", pod, p.ServiceAccountName, account)
		}
		if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken != wantToken {
			t.Errorf("%s: token %v", pod, p.AutomountServiceAccountToken)
		}
	}
}

func TestNamesAndImages(t *testing.T) {
	m := build(t)
	if got := m.namespace.Labels["pod-security.kubernetes.io/enforce"]; got != "privileged" {
		t.Errorf("Pod Security: %q", got)
	}
	for what, ns := range map[string]string{
		"CronJob": m.update.Namespace, "Job": m.check.Namespace, "ConfigMap": m.config.Namespace,
		"account": m.accounts["tufboot-update"].Namespace,
	} {
		if ns != m.namespace.Name || ns == "" {
			t.Errorf("%s is in namespace %q", what, ns)
		}
	}
	for name, pod := range m.pods() {
		image := pod.Containers[0].Image
		_, tag, found := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
		if !found || tag == "" || tag == "latest" {
			t.Errorf("%s: image %q is not pinned", name, image)
		}
		config := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil })
		if config < 0 || pod.Volumes[config].ConfigMap.Name != m.config.Name {
			t.Errorf("%s: the ConfigMap %q is not mounted", name, m.config.Name)
		}
		if _, found := m.config.Data["agent.yaml"]; !found || !slices.Contains(pod.Containers[0].Args, "--config=/config/agent.yaml") {
			t.Errorf("%s: args %q, config %v", name, pod.Containers[0].Args, m.config.Data)
		}
	}
}

// Each thing that reaches into the node is explained right where it is asked for.
func TestWhatReachesIntoTheNodeIsExplained(t *testing.T) {
	asks := regexp.MustCompile(`^\s*(- [A-Z_]+$|privileged: true|.*hostPath:.*)`)
	found := 0
	for _, file := range []string{"update-cronjob.yaml", "healthcheck-job.yaml"} {
		lines := strings.Split(read(t, filepath.Join(base, file)), "\n")
		for i, line := range lines {
			if !asks.MatchString(line) {
				continue
			}
			found++
			before := strings.TrimSpace(lines[i-1])
			if strings.HasPrefix(before, "- name:") {
				before = strings.TrimSpace(lines[i-2])
			}
			if !strings.HasPrefix(before, "#") {
				t.Errorf("%s:%d: no comment says why: %s", file, i+1, strings.TrimSpace(line))
			}
		}
	}
	if found != 6 { // 4 host paths, 1 capability, privileged
		t.Errorf("found %d places", found)
	}
}
