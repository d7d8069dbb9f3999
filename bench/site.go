package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// site is nginx with static files. Its log says what it sent.
type site struct {
	url, log string
	cmd      *exec.Cmd
	undo     func()
	seen     int64 // of the log
}

const nginxConf = `
daemon off; master_process off; user root; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
worker_rlimit_nofile 65536;
events { worker_connections 32768; }
http {
	log_format sent '$bytes_sent $request_length $status "$http_range" $request';
	access_log %[1]s/access.log sent;
	sendfile on; tcp_nopush on; keepalive_requests 100000;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[2]s; root %[3]s; %[4]s }
}
`

// newSite serves files on loopback.
func newSite(ctx context.Context, dir, files string) (*site, error) {
	return startSite(ctx, siteOptions{dir: dir, files: files, address: "127.0.0.1:18431"})
}

// newLink serves files at the other end of a link that is held to slowLink: a
// network namespace with a pair of virtual interfaces and a token bucket on the
// server's side. nginx could only hold back each connection by itself.
func newLink(ctx context.Context, dir, files string) (*site, error) {
	const space = "tufboot-bench"
	undo := func() { _ = exec.Command("ip", "netns", "del", space).Run() }
	undo()
	in := []string{"netns", "exec", space}
	for _, args := range [][]string{
		{"netns", "add", space},
		{"link", "add", "tufbench0", "type", "veth", "peer", "name", "tufbench1", "netns", space},
		{"addr", "add", "10.231.173.1/30", "dev", "tufbench0"},
		{"link", "set", "tufbench0", "up"},
		append(in, "ip", "addr", "add", "10.231.173.2/30", "dev", "tufbench1"),
		append(in, "ip", "link", "set", "tufbench1", "up"),
		append(in, "tc", "qdisc", "add", "dev", "tufbench1", "root", "tbf", "rate", fmt.Sprintf("%dbps", slowLink), "burst", "128kb", "latency", "20ms"),
	} {
		if err := command(ctx, "", "ip", args...); err != nil {
			undo()
			return nil, err
		}
	}
	s, err := startSite(ctx, siteOptions{dir: dir, files: files, address: "10.231.173.2:18431", front: append([]string{"ip"}, in...)})
	if err != nil {
		undo()
		return nil, err
	}
	s.undo = undo
	return s, nil
}

// siteOptions say what to serve and where.
type siteOptions struct {
	dir, files, address string
	cert, key           string   // for HTTPS; "": HTTP
	front               []string // a command that runs nginx
}

func startSite(ctx context.Context, o siteOptions) (*site, error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return nil, err
	}
	s := &site{url: "http://" + o.address, log: filepath.Join(o.dir, "access.log"), undo: func() {}}
	listen, extra := o.address, ""
	if o.cert != "" {
		s.url = "https://" + o.address
		listen += " ssl http2"
		extra = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", o.cert, o.key)
	}
	conf := filepath.Join(o.dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, o.dir, listen, o.files, extra), 0o644); err != nil {
		return nil, err
	}
	args := append(o.front, "nginx", "-c", conf)
	var stderr bytes.Buffer
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stderr = &stderr
	// It must not outlive us, whatever ends us.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", o.address)
		if err == nil {
			conn.Close()
			return s, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			s.close()
			return nil, fmt.Errorf("nginx: %w: %s", err, stderr.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *site) close() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.undo()
}

// sent adds to a cost the bytes, requests and ranges since the last call.
func (s *site) sent(c *cost) error {
	// nginx writes the line after the last byte is out.
	time.Sleep(50 * time.Millisecond)
	data, err := os.ReadFile(s.log)
	if err != nil {
		return err
	}
	fresh := string(data[min(s.seen, int64(len(data))):])
	s.seen = int64(len(data))
	for line := range strings.Lines(fresh) {
		var out, in int64
		var status int
		if _, err := fmt.Sscan(line, &out, &in, &status); err != nil {
			return fmt.Errorf("%s: %q: %w", s.log, line, err)
		}
		c.network, c.requests = c.network+out, c.requests+1
		if _, quoted, ok := strings.Cut(line, `"bytes=`); ok {
			list, _, _ := strings.Cut(quoted, `"`)
			c.ranges += int64(strings.Count(list, ",")) + 1
		}
	}
	return nil
}

// cpu returns the processor time that the server has taken, user and system
// (proc(5): utime and stime, in ticks of 10 ms).
func (s *site) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/PID/stat: %q", data)
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, err
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
