package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestServe starts the server as the command does, reads a file and stops it.
func TestServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	url, ended := startServe(ctx, t, "../testdata/tuf-repo/valid/repository")
	res, err := http.Get(url + "metadata/timestamp.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"timestamp"`)) {
		t.Errorf("%d %q %v", res.StatusCode, body, err)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("serve ends with exit code %d", code)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("it still answers")
	}
}

// startServe serves a repository until ctx ends. It returns the URL, and a
// channel with the exit code.
func startServe(ctx context.Context, t *testing.T, repo string) (string, <-chan int) {
	t.Helper()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	var stderr bytes.Buffer
	go func() {
		code := runHere(ctx, t, in, &stderr, "serve", "--repo", repo, "--listen", "127.0.0.1:0")
		in.CloseWithError(io.EOF)
		ended <- code
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no URL (exit code %d): %s", <-ended, stderr.String())
	}
	return strings.TrimSpace(line), ended
}
