package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// DefaultContainerdSocket is where containerd listens unless it is told otherwise.
const DefaultContainerdSocket = "/run/containerd/containerd.sock"

// healthPath is the method of the gRPC health checking protocol, which
// containerd serves on its socket (package grpc.health.v1, method Check).
const healthPath = "/grpc.health.v1.Health/Check"

// maxGRPCReply is the most bytes of an answer that are read. A real one has 7:
// five of framing and two of message.
const maxGRPCReply = 1 << 10

// maxGRPCHeader limits the header and trailer blocks of an answer.
const maxGRPCHeader = 16 << 10

// Containerd returns a check that passes when containerd answers the gRPC
// health question on its unix socket with SERVING. An empty socket means
// DefaultContainerdSocket.
//
// It speaks gRPC over net/http's unencrypted HTTP/2, since the gRPC library
// would add several megabytes to the node's binary for one call whose request
// is five zero bytes.
func Containerd(socket string) Check {
	if socket == "" {
		socket = DefaultContainerdSocket
	}
	return containerd{socket: socket}
}

type containerd struct{ socket string }

func (c containerd) Name() string { return "containerd" }

func (c containerd) Run(ctx context.Context) error {
	status, err := c.ask(ctx)
	if err != nil {
		return fmt.Errorf("containerd at %s: %w", c.socket, err)
	}
	if status != servingStatus {
		return fmt.Errorf("containerd at %s reports %s, not SERVING", c.socket, status)
	}
	return nil
}

// ask makes the call on a connection of its own, so that it tells of the
// socket's state now and not of a connection that outlived it.
func (c containerd) ask(ctx context.Context) (healthStatus, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:              protocols,
		MaxResponseHeaderBytes: maxGRPCHeader,
		DisableCompression:     true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}
	defer transport.CloseIdleConnections()

	emptyMessage := make([]byte, grpcPrefix) // service "", the server as a whole
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+healthPath, bytes.NewReader(emptyMessage))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers") // gRPC servers refuse clients that cannot see trailers
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return readHealthReply(resp)
}

// readHealthReply reads the answer to a health Check call: the gRPC status must
// be 0 and the one message well-formed.
func readHealthReply(resp *http.Response) (healthStatus, error) {
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("HTTP status %s", resp.Status)
	}
	if t := resp.Header.Get("Content-Type"); t != "application/grpc" && !strings.HasPrefix(t, "application/grpc+") {
		return 0, fmt.Errorf("not a gRPC server: content type %q", clean(t))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxGRPCReply+1))
	if err != nil {
		return 0, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxGRPCReply {
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxGRPCReply)
	}
	if err := grpcError(resp); err != nil {
		return 0, err
	}
	message, err := unframe(body)
	if err != nil {
		return 0, err
	}
	return parseHealthReply(message)
}

// grpcError returns the call's outcome as the server gave it in the trailer,
// or in the header when it sent no message at all (a "trailers-only" answer).
func grpcError(resp *http.Response) error {
	from := resp.Trailer
	if len(from.Values("Grpc-Status")) == 0 {
		from = resp.Header
	}
	code := from.Values("Grpc-Status")
	switch {
	case len(code) == 0:
		return errors.New("the answer has no gRPC status: it was cut short")
	case len(code) > 1:
		return errors.New("the answer has several gRPC statuses")
	case code[0] != "0":
		return fmt.Errorf("gRPC status %s: %s", clean(code[0]), clean(from.Get("Grpc-Message")))
	}
	return nil
}
