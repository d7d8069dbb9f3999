package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Folders and files as kubeadm lays them out.
const (
	kubernetesDir     = "/etc/kubernetes"
	pkiDir            = kubernetesDir + "/pki"
	AdminKubeconfig   = kubernetesDir + "/admin.conf"   // may do everything
	KubeletKubeconfig = kubernetesDir + "/kubelet.conf" // what the gate finds on a node
)

// authority signs the cluster's certificates.
type authority struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

// pair is a certificate and its key, in PEM.
type pair struct{ cert, key string }

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert: cert, key: key, serial: 1}, err
}

func (a *authority) pem() string { return encode("CERTIFICATE", a.cert.Raw) }

// issue makes a certificate for a user of the API server (a name and its group),
// and for a server as well if it is given addresses or names.
func (a *authority) issue(user, group string, hosts ...string) (pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: user},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	return pair{cert: encode("CERTIFICATE", der), key: encode("PRIVATE KEY", keyDER)}, err
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// writePKI makes the authority, the servers' certificates, the key of service
// accounts, and a kubeconfig for each part of the cluster.
func writePKI() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	files := map[string]string{pkiDir + "/ca.crt": ca.pem()}
	for name, hosts := range map[string][]string{
		"apiserver": {NodeAddress, ServiceAddress, "127.0.0.1", "localhost", "kubernetes.default.svc"},
		"kubelet":   {NodeAddress, NodeName},
		"sa":        nil, // its certificate is not used: the key signs tokens
	} {
		p, err := ca.issue(name, "", hosts...)
		if err != nil {
			return err
		}
		files[pkiDir+"/"+name+".crt"], files[pkiDir+"/"+name+".key"] = p.cert, p.key
	}
	for file, user := range map[string][2]string{
		"admin":                    {"kubernetes-admin", "system:masters"},
		"controller-manager":       {"system:kube-controller-manager", ""},
		"scheduler":                {"system:kube-scheduler", ""},
		"kubelet":                  {"system:node:" + NodeName, "system:nodes"},
		"apiserver-kubelet-client": {"kube-apiserver-kubelet-client", "system:masters"},
	} {
		p, err := ca.issue(user[0], user[1])
		if err != nil {
			return err
		}
		crt, key := pkiDir+"/"+file+".client.crt", pkiDir+"/"+file+".client.key"
		files[crt], files[key] = p.cert, p.key
		files[kubernetesDir+"/"+file+".conf"] = kubeconfig("client-certificate: " + crt + "\n    client-key: " + key)
	}
	for path, text := range files {
		if err := writeFile(path, text); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfig returns a kubeconfig for the API server with these lines as its user.
func kubeconfig(user string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: this
contexts:
- name: this
  context: {cluster: this, user: this}
clusters:
- name: this
  cluster:
    server: https://%s:443
    certificate-authority: %s/ca.crt
users:
- name: this
  user:
    %s
`, NodeAddress, pkiDir, user)
}
