package health

import (
	"net/http"
	"testing"
)

// A proxy of the environment is for the world outside; the check must ask the
// API server itself. (Asked through a client it could not be tested: net/http
// reads the environment once, and never uses a proxy for this machine.)
func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	client, err := new(kubeConfig).client()
	if err != nil {
		t.Fatal(err)
	}
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client has a proxy")
	}
}
