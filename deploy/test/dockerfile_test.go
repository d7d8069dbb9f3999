package deploy_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instructions returns a Dockerfile's instructions, continued lines joined.
func instructions(t *testing.T, path string) [][]string {
	t.Helper()
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, path), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	var all [][]string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 0 {
			all = append(all, f)
		}
	}
	return all
}

func TestDockerfile(t *testing.T) {
	checkDockerfile(t, "../Dockerfile", "/usr/sbin/agent")
}

// The image of repo-tool is made in the same way, and does not run as root.
func TestRepoToolDockerfile(t *testing.T) {
	const path = "../repository/Dockerfile"
	checkDockerfile(t, path, "/usr/bin/repo-tool")
	if text := read(t, path); !strings.Contains(text, "CGO_ENABLED=0") || !strings.Contains(text, "-o /out/repo-tool ./repo-tool") || !strings.Contains(text, "\nUSER 65532:65532\n") {
		t.Errorf("got %s", text)
	}
	if read(t, path+".dockerignore") != read(t, "../Dockerfile.dockerignore") {
		t.Error("the two .dockerignore files differ")
	}
}

// checkDockerfile wants an empty image with nothing but certificates and one
// program.
func checkDockerfile(t *testing.T, path, program string) {
	t.Helper()
	all := instructions(t, path)
	last := -1
	for i, f := range all {
		switch f[0] {
		case "FROM":
			last = i
			if len(f) > 3 { // FROM ... IMAGE AS NAME
				if image := f[len(f)-3]; !strings.Contains(image, ":") || strings.HasSuffix(image, ":latest") {
					t.Errorf("stage image %s is not pinned", image)
				}
			}
		case "ADD":
			t.Errorf("%q: use COPY", f)
		}
	}
	final := all[last:]
	if len(final[0]) != 2 || final[0][1] != "scratch" {
		t.Fatalf("the final stage is %q, not scratch", final[0])
	}
	var copied []string
	for _, f := range final[1:] {
		if f[0] == "RUN" {
			t.Errorf("%q: nothing can be run in an empty image", f)
		}
		if f[0] == "COPY" {
			if f[1] != "--from=build" {
				t.Errorf("%q does not come from the build stage", f)
			}
			copied = append(copied, f[len(f)-1])
		}
	}
	want := []string{"/etc/ssl/certs/ca-certificates.crt", program}
	if !slices.Equal(copied, want) {
		t.Errorf("the image holds %q, want %q", copied, want)
	}
	entry := slices.IndexFunc(final, func(f []string) bool { return f[0] == "ENTRYPOINT" })
	if entry < 0 || strings.Join(final[entry][1:], "") != `["`+program+`"]` {
		t.Error("the entry point is not the program, in exec form")
	}
}

// A binary that is not static does not start in an empty image.
func TestDockerfileBuildsAStaticBinary(t *testing.T) {
	text := read(t, "../Dockerfile")
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-tags urfave_cli_no_docs", "-X main.version=$VERSION", "-X main.buildTime=$BUILD_TIME", "-o /out/agent ./agent"} {
		if !strings.Contains(text, want) {
			t.Errorf("the build lacks %q", want)
		}
	}
}

// What the image is built from must not be kept out of the build.
func TestDockerignoreKeepsTheSources(t *testing.T) {
	for line := range strings.Lines(read(t, "../Dockerfile.dockerignore")) {
		switch strings.TrimSpace(line) {
		case "agent", "grub", "image", "internal", "metadata", "go.mod", "go.sum", "*", "**":
			t.Errorf("%q is needed", line)
		}
	}
	for _, dir := range []string{"agent", "go.mod"} {
		if _, err := os.Stat("../../" + dir); err != nil {
			t.Error(err)
		}
	}
}
