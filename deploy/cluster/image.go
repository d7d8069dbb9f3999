package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Image is a container image over scratch, with one layer.
type Image struct {
	Name       string            // with its tag
	Files      map[string]string // path in the image: file on this machine
	Entrypoint []string
	Cmd        []string
}

// ReadDockerfile does what `docker build -t name -f dockerfile source` would, for
// Dockerfiles like ours: a build stage whose last RUN compiles into /out, and a
// stage from scratch with COPY, ENTRYPOINT and CMD. What is compiled goes to out.
func ReadDockerfile(dockerfile, source, name, out string) (*Image, error) {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		return nil, err
	}
	build, final, found := strings.Cut(strings.ReplaceAll(string(text), "\\\n", " "), "\nFROM scratch\n")
	if !found {
		return nil, fmt.Errorf("%s: no stage from scratch", dockerfile)
	}
	run := build[strings.LastIndex(build, "\nRUN ")+len("\nRUN "):]
	compile := tool{dir: source, env: append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+runtime.GOARCH, "VERSION=development", "BUILD_TIME=")}
	if _, err := compile.run("bash", "-ec", strings.ReplaceAll(run, "/out/", out+"/")); err != nil {
		return nil, fmt.Errorf("%s: %w", dockerfile, err)
	}
	image := &Image{Name: name, Files: map[string]string{}}
	for line := range strings.Lines(final) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "COPY":
			f := strings.Fields(strings.TrimPrefix(rest, "--from=build "))
			from := f[0]
			if after, built := strings.CutPrefix(from, "/out/"); built {
				from = filepath.Join(out, after)
			}
			image.Files[f[1]] = from
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(rest), &image.Entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(rest), &image.Cmd)
		case "", "#":
		default:
			err = fmt.Errorf("%s is not understood here", instruction)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", dockerfile, strings.TrimSpace(line), err)
		}
	}
	return image, nil
}

// Save writes the image in the format of `docker save`, which `ctr images import`
// reads.
func (i *Image) Save(file string) error {
	layer, err := i.layer()
	if err != nil {
		return fmt.Errorf("image %s: %w", i.Name, err)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "Cmd": i.Cmd},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{fmt.Sprintf("sha256:%x", sha256.Sum256(layer))}},
	})
	if err != nil {
		return err
	}
	configName := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest, err := json.Marshal([]map[string]any{{"Config": configName, "RepoTags": []string{i.Name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for name, data := range map[string][]byte{configName: config, "layer.tar": layer, "manifest.json": manifest} {
		if err := addFile(w, name, data, 0o644); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, archive.Bytes(), 0o644)
}

// layer is a tar of the files and the folders that they are in.
func (i *Image) layer() ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var made []string
	for name, file := range i.Files {
		for dir := range parents(name) {
			if !slices.Contains(made, dir) {
				made = append(made, dir)
				if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
					return nil, err
				}
			}
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(f)
		if err != nil {
			return nil, err
		}
		if err := addFile(w, strings.TrimPrefix(name, "/"), data, int64(info.Mode().Perm())); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// parents yields the folders above an absolute path, the topmost first, without
// the leading slash.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var all []string
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			all = append(all, strings.TrimPrefix(dir, "/"))
		}
		for _, dir := range slices.Backward(all) {
			if !yield(dir) {
				return
			}
		}
	}
}

func addFile(w *tar.Writer, name string, data []byte, mode int64) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// Import gives containerd an image for its pods. containerd has to be running.
func (c *Cluster) Import(file string) error {
	_, err := tool{}.run("ctr", "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", file)
	return err
}
