package cluster_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tufboot/deploy/cluster"
)

// source is the checkout that is tested.
const source = "../.."

// agentImage is the name that docs/kubernetes.md gives to the agent's image.
const agentImage = "registry.example.com/fleet/agent:0.1.0"

func TestMain(m *testing.M) {
	os.Exit(cluster.Isolate(prepare, m.Run))
}

// prepare builds what the cluster runs, while the Internet can be reached.
func prepare(dir string) error {
	programs := os.Getenv("KUBERNETES_PROGRAMS")
	if programs == "" {
		var err error
		if programs, err = run("kubernetes/build"); err != nil {
			return err
		}
	}
	if err := os.Symlink(programs, filepath.Join(dir, "kubernetes")); err != nil {
		return err
	}
	for name, from := range map[string]string{"repo-tool": source, "pause": "."} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./"+name)
		cmd.Dir = from
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build ./%s: %w: %s", name, err, out)
		}
	}
	agent, err := cluster.ReadDockerfile(source+"/deploy/Dockerfile", source, agentImage, dir)
	if err != nil {
		return err
	}
	if err := agent.Save(filepath.Join(dir, "agent.tar")); err != nil {
		return err
	}
	pause := &cluster.Image{Name: cluster.PauseImage, Files: map[string]string{"/pause": filepath.Join(dir, "pause")}, Entrypoint: []string{"/pause"}}
	return pause.Save(filepath.Join(dir, "pause.tar"))
}

// run runs a program and returns the first line of what it prints.
func run(program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, err)
	}
	return string(out[:max(0, len(out)-1)]), nil
}
