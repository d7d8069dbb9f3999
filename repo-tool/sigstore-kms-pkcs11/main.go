//go:build cgo

package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/common"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

func main() {
	os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// run answers one question of the protocol: the arguments are the protocol's
// version and the question as JSON; the message to be signed is on stdin.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	if len(args) != 3 {
		fmt.Fprintln(stderr, "sigstore-kms-pkcs11 is run by repo-tool and cosign, for keys whose URI starts with pkcs11://.")
		return 2
	}
	if err := answer(args, stdin, stdout, getenv); err != nil {
		fmt.Fprintln(stderr, "sigstore-kms-pkcs11:", err)
		return 1
	}
	return 0
}

// answer writes an answer, which may be an error, to stdout.
func answer(args []string, stdin io.Reader, stdout io.Writer, getenv func(string) string) (err error) {
	// sigstore's handler takes for granted that a question has its arguments.
	defer func() {
		if p := recover(); p != nil {
			err = handler.WriteErrorResponse(stdout, fmt.Errorf("the question is not complete: %v", p))
		}
	}()
	key, question, err := newKey(args, getenv)
	if err != nil {
		return handler.WriteErrorResponse(stdout, err)
	}
	_, err = handler.Dispatch(stdout, stdin, question, key)
	return err
}

func newKey(args []string, getenv func(string) string) (*key, *common.PluginArgs, error) {
	if args[1] != common.ProtocolVersion {
		return nil, nil, fmt.Errorf("this plugin speaks version %s of the protocol, not %q", common.ProtocolVersion, args[1])
	}
	question, err := handler.GetPluginArgs(args)
	if err != nil {
		return nil, nil, fmt.Errorf("the question is not understood: %w", err)
	}
	if question.InitOptions == nil || question.MethodArgs == nil {
		return nil, nil, errors.New("the question names no key or no method")
	}
	uri, err := parseURI(question.InitOptions.KeyResourceID)
	if err != nil {
		return nil, nil, err
	}
	return &key{uri: uri, hash: question.InitOptions.HashFunc, getenv: getenv}, question, nil
}
