package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"tufboot/metadata/repository"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "hand the repository out over HTTP",
		Description: examples(`A small static server for a laptop or a LAN mirror. Signatures protect what it
hands out, so it needs no TLS and no keys. It ends on SIGINT or SIGTERM.`,
			"repo-tool serve --repo repo",
			"repo-tool serve --repo repo --listen 0.0.0.0:8080"),
		Flags: []cli.Flag{
			repoFlag(),
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:8080", Usage: "listen on `ADDRESS`; port 0 takes a free one", EnvVars: []string{"REPO_TOOL_LISTEN"}},
		},
		Action: runServe,
	}
}

func runServe(c *cli.Context) error {
	v, err := commonOf(c)
	if err != nil {
		return err
	}
	repo, err := openRepo(c, v)
	if err != nil {
		return err
	}
	if _, err := repo.Status(c.Context); err != nil {
		return fmt.Errorf("not served: %w", err)
	}
	handler, err := repository.NewHandler(c.String("repo"))
	if err != nil {
		return err
	}
	defer handler.Close()
	listener, err := new(net.ListenConfig).Listen(c.Context, "tcp", c.String("listen"))
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	url := "http://" + listener.Addr().String() + "/"
	if err := v.print(c, map[string]string{"url": url}, func(w io.Writer) { fmt.Fprintln(w, url) }); err != nil {
		listener.Close()
		return err
	}
	return serve(c.Context, listener, handler, v.logger)
}

// serve answers requests until ctx ends, then lets running ones finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	const grace = 5 * time.Second
	server := &http.Server{
		Handler: logRequests(handler, logger),
		// A download may take hours on a slow link; its header may not.
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(timeout); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	} else if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func logRequests(next http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logger.Info("request", "method", r.Method, "path", r.URL.Path, "range", r.Header.Get("Range"), "from", r.RemoteAddr)
		next.ServeHTTP(w, r)
	})
}
