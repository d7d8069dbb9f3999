package deploy_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// refreshManifests is what kubectl would apply.
func refreshManifests(t *testing.T) (corev1.Namespace, corev1.ServiceAccount, corev1.ConfigMap, batchv1.CronJob) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(schedulers, "kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	var namespace corev1.Namespace
	var account corev1.ServiceAccount
	var config corev1.ConfigMap
	var job batchv1.CronJob
	into := map[string]any{"Namespace": &namespace, "ServiceAccount": &account, "ConfigMap": &config, "CronJob": &job}
	for _, r := range resources.Resources() {
		if into[r.GetKind()] == nil {
			t.Fatalf("unexpected %s %s", r.GetKind(), r.GetName())
		}
		if err := decodeStrict(r.MustYaml(), into[r.GetKind()]); err != nil {
			t.Fatalf("%s: %v", r.GetKind(), err)
		}
		delete(into, r.GetKind())
	}
	if len(into) > 0 {
		t.Fatalf("missing: %v", slices.Sorted(maps.Keys(into)))
	}
	return namespace, account, config, job
}

// runCronJob runs the containers in their order, with paths of this machine in
// the place of the mounts.
func runCronJob(t *testing.T, tool, repo, keys, password string) (string, error) {
	t.Helper()
	_, _, config, job := refreshManifests(t)
	if config.Data["REPO_TOOL_REPO"] == "" {
		t.Fatalf("the ConfigMap has %v", config.Data)
	}
	pod := job.Spec.JobTemplate.Spec.Template.Spec
	secret := t.TempDir()
	files, err := filepath.Glob(filepath.Join(keys, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, password) {
		write(t, filepath.Join(secret, filepath.Base(file)), read(t, file), 0o440)
	}
	var out strings.Builder
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if len(c.Command) > 0 || len(c.EnvFrom) != 1 || c.EnvFrom[0].ConfigMapRef.Name != config.Name {
			t.Errorf("%s: %+v", c.Name, c)
		}
		var args []string
		for _, arg := range c.Args {
			args = append(args, strings.Replace(arg, "=/keys", "="+secret, 1))
		}
		text, err := command(t, map[string]string{"REPO_TOOL_REPO": repo}, tool, args...)
		out.WriteString(text)
		if err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

// TestRefreshManifests checks that the pod can do no more than it must.
func TestRefreshManifests(t *testing.T) {
	namespace, account, config, job := refreshManifests(t)
	if namespace.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("Pod Security: %v", namespace.Labels)
	}
	s := job.Spec
	if s.ConcurrencyPolicy != batchv1.ForbidConcurrent || s.StartingDeadlineSeconds == nil || s.TimeZone == nil ||
		!regexp.MustCompile(`^[1-9][0-9]? \d+ \* \* \*$`).MatchString(s.Schedule) || s.JobTemplate.Spec.ActiveDeadlineSeconds == nil {
		t.Errorf("got %+v", s)
	}
	pod := s.JobTemplate.Spec.Template.Spec
	if pod.ServiceAccountName != account.Name || *account.AutomountServiceAccountToken || *pod.AutomountServiceAccountToken ||
		!*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0 || pod.SecurityContext.FSGroup == nil ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || pod.HostNetwork || pod.HostPID {
		t.Errorf("pod: %+v", pod)
	}
	for _, v := range pod.Volumes {
		if v.HostPath != nil || v.Secret != nil && *v.Secret.DefaultMode != 0o440 {
			t.Errorf("volume %+v", v)
		}
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		x := c.SecurityContext
		if !*x.ReadOnlyRootFilesystem || *x.AllowPrivilegeEscalation || !slices.Equal(x.Capabilities.Drop, []corev1.Capability{"ALL"}) || x.Capabilities.Add != nil {
			t.Errorf("%s: %+v", c.Name, x)
		}
		if c.Resources.Limits.Memory().IsZero() || strings.HasSuffix(c.Image, ":latest") || !strings.Contains(c.Image, ":") {
			t.Errorf("%s: image %s, %+v", c.Name, c.Image, c.Resources)
		}
		keys := slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "keys" })
		if keys != (c.Name == "refresh") {
			t.Errorf("%s: keys %v", c.Name, keys)
		}
	}
	for what, ns := range map[string]string{"CronJob": job.Namespace, "ConfigMap": config.Namespace, "account": account.Namespace} {
		if ns != namespace.Name {
			t.Errorf("%s is in namespace %q", what, ns)
		}
	}
}
