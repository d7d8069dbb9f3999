package storagetest

import (
	"net"
	"os/exec"
	"strings"
	"testing"
)

// Account and key of Azurite; they are the same everywhere
// (https://github.com/Azure/Azurite).
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// StartAzure starts Azurite, Microsoft's emulator of Azure Storage, sets the
// environment so that it is the test's Azure, and returns the address of its
// blob service. An emulator shows that the requests are right, not that the
// service is. It skips the test with -short and where Azurite is not installed.
func StartAzure(t *testing.T) (service string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts an emulator")
	}
	program, err := exec.LookPath("azurite-blob")
	if err != nil {
		t.Skip("Azurite is not installed: npm install --global azurite@3.37.0")
	}
	endpoint := startServer(t, func(address string) []string {
		host, port, _ := net.SplitHostPort(address)
		return []string{program, "--blobHost", host, "--blobPort", port,
			"--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"}
	})
	address := strings.TrimPrefix(endpoint, "http://")
	for name, value := range map[string]string{
		"AZURE_STORAGE_ACCOUNT": azuriteAccount, "AZURE_STORAGE_KEY": azuriteKey,
		"AZURE_STORAGE_DOMAIN": address, "AZURE_STORAGE_PROTOCOL": "http",
		"AZURE_STORAGE_IS_LOCAL_EMULATOR":    "true",
		"AZURE_STORAGE_CONNECTION_STRING":    "DefaultEndpointsProtocol=http;AccountName=" + azuriteAccount + ";AccountKey=" + azuriteKey + ";BlobEndpoint=" + endpoint + "/" + azuriteAccount + ";",
		"AZURE_STORAGEBLOB_CONNECTIONSTRING": "",
	} {
		t.Setenv(name, value)
	}
	return endpoint + "/" + azuriteAccount
}
