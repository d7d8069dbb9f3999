package health_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tufboot/agent/health"
)

const thisBoot = "0f6f9ba5-6a5e-4d9a-8d1c-2f2a2f0a8d11"

// nodeJSON is a Node object as an API server prints it, cut to what matters
// and to what must not.
func nodeJSON(name, bootID, conditions string) string {
	return fmt.Sprintf(`{"kind":"Node","apiVersion":"v1","metadata":{"name":%q,"labels":{"kubernetes.io/os":"linux"}},
"spec":{"podCIDR":"10.42.0.0/24"},
"status":{"conditions":[%s],"nodeInfo":{"machineID":"x","bootID":%q,"kubeletVersion":"v1.36.3"}}}`, name, conditions, bootID)
}

const (
	ready        = `{"type":"MemoryPressure","status":"False"},{"type":"Ready","status":"True","reason":"KubeletReady"}`
	notReady     = `{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"cni plugin not initialized"}`
	unknownReady = `{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown","message":"Kubelet stopped posting node status."}`
)

// text answers with status and body.
func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// endless answers 200 and a body that does not end.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		io.WriteString(w, strings.Repeat("ok ", 1000))
	}
}

func hang(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// asUser returns options that reach the API with a kubeconfig written for it.
func (a *api) asUser(t *testing.T) health.KubeOptions {
	t.Helper()
	boot := filepath.Join(t.TempDir(), "boot_id")
	if err := os.WriteFile(boot, []byte(thisBoot+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return health.KubeOptions{Kubeconfig: a.kubeconfig(t, kubeconfigParts{}), BootIDFile: boot}
}

func TestAPIServer(t *testing.T) {
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"ready", text(200, "ok"), ""},
		{"ready with a newline", text(200, "ok\n"), ""},
		{"not ready", text(500, "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"),
			"500 Internal Server Error: [-]etcd failed: reason withheld, [-]informer-sync failed: reason withheld"},
		{"some page", text(200, "<html>log in</html>"), "is this a Kubernetes API server?"},
		{"empty", text(200, ""), "is this a Kubernetes API server?"},
		{"no content", text(204, ""), "204 No Content"},
		{"unauthorized", text(401, `{"kind":"Status","message":"Unauthorized"}`), "are not accepted"},
		{"forbidden", text(403, `{"kind":"Status","message":"User \"x\" cannot get path \"/readyz\""}`), `lacks the permission: User "x" cannot get path "/readyz"`},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "302 Found"},
		{"huge", text(200, strings.Repeat("ok", 1<<20)), "longer than 65536 bytes"},
		{"endless", endless, "longer than 65536 bytes"},
		{"control characters", text(500, "\x1b[2Jgone"), "?[2Jgone"},
		{"huge header", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			io.WriteString(w, "ok")
		}, "server response headers exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{"/readyz": tt.h, "/elsewhere": text(200, "ok")})
			r := runOnce(t, health.APIServer(a.asUser(t)), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
			if len(r.Error) > 4096 {
				t.Errorf("the error has %d bytes", len(r.Error))
			}
		})
	}
}

func TestKubeChecksEndInTime(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": hang, "/api/v1/nodes/n1": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		hang(w, r)
	}})
	o := a.asUser(t)
	for _, c := range []health.Check{health.APIServer(o), health.NodeReady(o, "n1")} {
		if r := runOnce(t, c, limit); r.Passed || !strings.Contains(r.Error, "no answer within") {
			t.Errorf("got %+v", r)
		}
	}
}

func TestNodeReady(t *testing.T) {
	spec := func(s string) string { // a ready node with another spec
		return strings.Replace(nodeJSON("n1", thisBoot, ready), `"spec":{`, `"spec":{`+s+`,`, 1)
	}
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"ready", text(200, nodeJSON("n1", thisBoot, ready)), ""},
		{"ready and cordoned", text(200, spec(`"unschedulable":true`)), ""},
		{"ready and tainted", text(200, spec(`"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"},{"key":"x","effect":"NoExecute"}]`)), ""},
		{"ready and large", text(200, spec(`"x":"`+strings.Repeat("x", 3<<20)+`"`)), ""},
		{"not ready", text(200, nodeJSON("n1", thisBoot, notReady)), "Ready is False: KubeletNotReady: cni plugin not initialized"},
		{"unknown", text(200, nodeJSON("n1", thisBoot, unknownReady)), "Ready is Unknown: NodeStatusUnknown"},
		{"ready before the reboot", text(200, nodeJSON("n1", "11111111-1111-1111-1111-111111111111", ready)), "has not reported since this boot"},
		{"no boot id", text(200, nodeJSON("n1", "", ready)), "has not reported since this boot"},
		{"no conditions", text(200, nodeJSON("n1", thisBoot, "")), "has not reported the condition Ready"},
		{"only other conditions", text(200, nodeJSON("n1", thisBoot, `{"type":"MemoryPressure","status":"True"}`)), "has not reported the condition Ready"},
		{"another kind", text(200, strings.Replace(nodeJSON("n1", thisBoot, ready), `"Node"`, `"Machine"`, 1)), `answered with the Machine "n1"`},
		{"another node", text(200, nodeJSON("n2", thisBoot, ready)), `answered with the Node "n2"`},
		{"a status object", text(200, `{"kind":"Status","status":"Success"}`), "answer of the API server"},
		{"a null", text(200, `null`), "answered with"},
		{"a list", text(200, `[]`), "answer of the API server"},
		{"cut short", text(200, nodeJSON("n1", thisBoot, ready)[:200]), "unexpected end of JSON"},
		{"trailing data", text(200, nodeJSON("n1", thisBoot, ready)+"{}"), "after top-level value"},
		{"too deep", text(200, strings.Repeat("[", 1<<20)), "exceeded max depth"},
		{"endless", endless, "longer than 8388608 bytes"},
		{"not found", text(404, `{"kind":"Status","message":"nodes \"n1\" not found"}`), `nodes "n1" not found`},
		{"forbidden", text(403, `{"kind":"Status","message":"cannot get resource nodes"}`), "lacks the permission"},
		{"down", text(503, ""), "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPI(t, map[string]http.HandlerFunc{"/api/v1/nodes/n1": tt.h})
			r := runOnce(t, health.NodeReady(a.asUser(t), "n1"), time.Minute)
			if r.Passed != (tt.want == "") || !strings.Contains(r.Error, tt.want) {
				t.Errorf("passed %v, error %q, want %q", r.Passed, r.Error, tt.want)
			}
		})
	}
}

func TestNodeName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host = strings.ToLower(host)
	a := newAPI(t, map[string]http.HandlerFunc{
		"/api/v1/nodes/" + host:     text(200, nodeJSON(host, thisBoot, ready)),
		"/api/v1/nodes/a.b-c.local": text(200, nodeJSON("a.b-c.local", thisBoot, ready)),
	})
	for name, want := range map[string]string{
		"":                       "",
		"a.b-c.local":            "",
		"../../readyz":           "cannot be the name",
		"n1/status":              "cannot be the name",
		"n1?x=y":                 "cannot be the name",
		"UPPER":                  "cannot be the name",
		"-n1":                    "cannot be the name",
		"n1.":                    "cannot be the name",
		"n1\n":                   "cannot be the name",
		strings.Repeat("a", 254): "cannot be the name",
	} {
		if r := runOnce(t, health.NodeReady(a.asUser(t), name), time.Minute); r.Passed != (want == "") || !strings.Contains(r.Error, want) {
			t.Errorf("%q: %+v", name, r)
		}
	}
}

// The kernel's own boot id is what the API server's is compared with.
func TestNodeReadyReadsTheKernelsBootID(t *testing.T) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, map[string]http.HandlerFunc{"/api/v1/nodes/n1": text(200, nodeJSON("n1", strings.TrimSpace(string(id)), ready))})
	o := a.asUser(t)
	o.BootIDFile = ""
	if r := runOnce(t, health.NodeReady(o, "n1"), time.Minute); !r.Passed {
		t.Error(r.Error)
	}
	o.BootIDFile = filepath.Join(t.TempDir(), "none")
	if r := runOnce(t, health.NodeReady(o, "n1"), time.Minute); r.Passed {
		t.Error("passed without knowing the boot")
	}
}

// A check sees a server that comes and goes, and credentials that come later.
func TestAPIServerComesAndGoes(t *testing.T) {
	status := 500
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": func(w http.ResponseWriter, r *http.Request) { text(status, "ok")(w, r) }})
	o := health.KubeOptions{Kubeconfig: filepath.Join(t.TempDir(), "later")}
	check := health.APIServer(o)
	expect := func(when string, want bool) {
		t.Helper()
		if r := runOnce(t, check, time.Minute); r.Passed != want {
			t.Errorf("%s: %+v", when, r)
		}
	}
	expect("without a kubeconfig", false)
	data, err := os.ReadFile(a.kubeconfig(t, kubeconfigParts{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.Kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	expect("while it answers 500", false)
	status = 200
	expect("when it is ready", true)
	a.Close()
	expect("when it is gone", false)
}

func TestInsecureIsHonouredAndWarnedOfOnce(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": text(200, "ok")})
	var log bytes.Buffer
	o := health.KubeOptions{
		Kubeconfig: a.kubeconfig(t, kubeconfigParts{cluster: "insecure-skip-tls-verify: true"}),
		Logger:     slog.New(slog.NewTextHandler(&log, nil)),
	}
	check := health.APIServer(o)
	for range 3 {
		if r := runOnce(t, check, time.Minute); !r.Passed {
			t.Fatal(r.Error)
		}
	}
	if n := strings.Count(log.String(), "insecure-skip-tls-verify is set"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

func TestKubeCheckHeedsItsContext(t *testing.T) {
	a := newAPI(t, map[string]http.HandlerFunc{"/readyz": hang})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(limit, cancel)
	if err := health.APIServer(a.asUser(t)).Run(ctx); err == nil {
		t.Error("passed")
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
