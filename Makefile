# tufboot: `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
# The commit's own time, so that the same commit gives the same bits.
BUILD_TIME ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
GO_BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -tags urfave_cli_no_docs
LDFLAGS    := -s -w -X main.version=$(VERSION) -X main.buildTime=$(BUILD_TIME)
# No inlining (1.1 MB less), and functions start at multiples of 4 bytes, as arm64
# needs it, and not of 32 (0.25 MB less). What takes time in the agent is SHA-256,
# which is assembly, and waiting for devices. deploy/Dockerfile has the same flags.
AGENT_GCFLAGS := -gcflags=all=-l
AGENT_LDFLAGS := -funcalign=4
AGENT_MAX  := 10000000

# The packages whose tests attach loop devices and mount file systems.
ROOT_PKGS  := ./image/... ./agent/... ./internal/faultdisk ./internal/atomicfile ./torture ./torture/kill/...
SUDO       := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
ROOT_TEST  := go test $(if $(SUDO),-exec "$(SUDO)")
# All others but the whole-system tests.
USER_PKGS   = $(shell go list ./... | grep -v -e /e2e -e /image -e /agent -e /faultdisk -e /atomicfile -e /torture) ./torture/mutants

# A kernel with the driver of QEMU's watchdog is in no package of a useful size.
E2E        := scripts/watchdog-kernel && go test -count=1 -timeout 40m ./e2e/...

# Build tags for clouds' object stores and key services; without them repo-tool
# has S3, and any key service through a plugin program.
PROVIDERS  := gcs,azure,awskms,azurekms,gcpkms,hashivault

GOLANGCI   := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULN     := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX  := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

# Their tests derive hundreds of keys from passwords, which takes the race detector
# minutes: it sees only those that do several things at once.
SLOW_KEYS  := /repo-tool /metadata/repository

.PHONY: help deps build unit test test-cluster e2e demo image fuzz lint vuln repro sbom testdata docs bench microbench torture cuts faults mutants kill clean size

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

deps: ## install the Debian packages that tests and demo need (says which and why)
	@scripts/deps

build: bin/agent bin/repo-tool ## build bin/agent and bin/repo-tool, static and stripped, and the PKCS#11 plugin
	CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/sigstore-kms-pkcs11 ./repo-tool/sigstore-kms-pkcs11
	@$(MAKE) --no-print-directory size

.PHONY: bin/agent bin/repo-tool
bin/agent:
	@mkdir -p bin
	$(GO_BUILD) $(AGENT_GCFLAGS) -ldflags '$(LDFLAGS) $(AGENT_LDFLAGS)' -o $@ ./agent

bin/repo-tool:
	@mkdir -p bin
	$(GO_BUILD) -ldflags '$(LDFLAGS)' -o $@ ./repo-tool

size:
	@ls -l bin | awk 'NR>1 && !/json$$/ {printf "%-12s %6.2f MB\n", $$9, $$5/1e6}'
	@test "$$(stat -c %s bin/agent)" -le $(AGENT_MAX) || { echo "bin/agent is larger than $(AGENT_MAX) bytes"; exit 1; }

unit: ## run the fast tests (two minutes at most)
	go test -short $(USER_PKGS)
	$(ROOT_TEST) -short $(ROOT_PKGS)

# The parts of the proof, the longest first. Several run at once, since most leave a core
# idle for much of their time: they wait for a disk, a timer or one machine. What a
# command of a part prints appears when it has ended.
PROOF := proof-e2e proof-root proof-cuts proof-grub proof-user proof-deploy
JOBS  ?= $(shell nproc)

test: deps build lint ## run the whole proof, as CI does
	@$(MAKE) --no-print-directory --jobs=$(JOBS) --output-sync=line $(PROOF)

.PHONY: $(PROOF)
proof-user:
	go test -race -timeout 20m $(filter-out %/grub $(addprefix %,$(SLOW_KEYS)),$(USER_PKGS))
	go test -timeout 20m $(addprefix .,$(SLOW_KEYS))
	go test -race -short -run 'TwoPublishers|Mirror|Attack|Lock|Grow' ./metadata/repository
	go test -tags hashivault -run TestVault ./repo-tool

# Every boot state on the real GRUB: without the race detector, which has nothing to see
# there. It sees what several read and write at once.
proof-grub:
	go test -timeout 30m ./grub
	go test -race -skip TestGRUBDecidesAsTheModel ./grub

# An update does several things at once only while it writes a slot: the race detector,
# which takes it three times as long, sees each way in which that is done and ends.
RACED_UPDATES := Steps|Delta|Resume|Interrupted|Gate|Lock|Lying
proof-root:
	$(ROOT_TEST) -timeout 30m ./agent/update
	$(ROOT_TEST) -race -timeout 30m -run '$(RACED_UPDATES)' ./agent/update
	$(ROOT_TEST) -race -timeout 30m $(filter-out %/agent/update,$(shell go list $(ROOT_PKGS)))

proof-deploy:
	cd deploy/test && go vet ./... && $(ROOT_TEST) -timeout 20m ./...

proof-e2e:
	$(E2E)

proof-cuts:
	$(MAKE) --no-print-directory cuts CUTS=-short

# Kubernetes is built from source into the user's cache folder: 9 minutes on two
# quiet cores, once. The rest takes 5.
test-cluster: deps ## run deploy/ on a real Kubernetes of one node
	@scripts/deps cluster
	export KUBERNETES_PROGRAMS=$$(deploy/cluster/kubernetes/build) && cd deploy/cluster && go vet ./... && $(ROOT_TEST) -count=1 -timeout 30m ./...

e2e: deps build ## run the whole-system tests in QEMU
	$(E2E)

demo: deps build ## show an update, a broken update and the rollback on a machine in QEMU
	@go run ./e2e/demo

image: deps build ## build a demo disk image in build/demo.img, with its repository beside it
	@go run ./e2e/demo -only-image build

FUZZ_TIME ?= 1m
fuzz: ## run every fuzz target for FUZZ_TIME (default 1m); write docs/reliability.md
	@scripts/fuzz $(FUZZ_TIME) docs/reliability.md

lint: ## gofmt, go vet, golangci-lint
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	go vet ./...
	go vet -tags $(PROVIDERS) ./metadata/storage/... ./repo-tool/...
	go run $(GOLANGCI) run

vuln: bin/agent bin/repo-tool ## look for known vulnerabilities (needs vuln.go.dev)
	go run $(GOVULN) ./...
	go run $(GOVULN) -mode binary bin/agent
	go run $(GOVULN) -mode binary bin/repo-tool

repro: ## build agent and repo-tool twice, in two places, and compare the bits
	@VERSION='$(VERSION)' BUILD_TIME='$(BUILD_TIME)' scripts/repro agent repo-tool

sbom: bin/agent bin/repo-tool ## write what is in the programs to bin/*.cdx.json (CycloneDX)
	@scripts/sbom $(CYCLONEDX) '$(VERSION)' bin/agent bin/repo-tool

testdata: ## make the fixture repositories in testdata/tuf-repo again
	go run ./testdata/gen

docs: ## make the man pages in docs/man again
	go test ./agent ./repo-tool -run TestManPage -update

BENCH := build/bench-tools
bench: deps build microbench ## measure updates beside their peers', a fleet, and publishing; write docs/benchmarks.md
	@scripts/deps bench
	@mkdir -p $(BENCH)
	$(GO_BUILD) -ldflags '-s -w' -o $(BENCH)/bare ./bench/bare
	cd bench/desync && go build -trimpath -ldflags '-s -w' -o ../../$(BENCH)/desync github.com/folbricht/desync/cmd/desync
	@go build -o build/bench-run ./bench && $(SUDO) unshare --mount build/bench-run $(BENCH_ARGS)

# Hashing, chunking, the environment block, the boot states, reading metadata.
# Compare two of its outputs with benchstat.
microbench: ## run the Go benchmarks; their output is in build/bench-tools/micro.txt too
	@mkdir -p $(BENCH)
	set -o pipefail; go test -run '^$$' -bench . -benchmem -benchtime 0.2s -count 5 ./grub ./metadata/chunks ./metadata/quick | tee $(BENCH)/micro.txt

# The order is that of the page. Each part can be run alone, too.
torture: ## try everything that could break a promise (more than an hour); write and print docs/reliability.md
	$(MAKE) --no-print-directory cuts
	$(MAKE) --no-print-directory kill
	$(MAKE) --no-print-directory mutants
	$(MAKE) --no-print-directory faults
	$(MAKE) --no-print-directory fuzz FUZZ_TIME=20s
	@sed -n '/^## /h; /^<!-- [a-z]* -->$$/,/^<!-- \//{/^<!-- [a-z]/{x;p;x};/^<!--/!p}' docs/reliability.md

# CUTS=-short tries the share that `make test` does; CUTS='-case good-bios:120:3' one
# case. With it no figures are written. Recordings are kept in build/torture.
cuts: deps ## cut the power at every write of an update; write docs/reliability.md
	@mkdir -p build
	@go build -o build/torture-run ./torture && $(SUDO) build/torture-run $(or $(CUTS),-docs docs/reliability.md)

faults: deps ## run every test that docs/reliability.md names, and count their cases
	@go build -o build/faults-run ./torture/faults && $(SUDO) build/faults-run

# MUTANTS=-list lists them; MUTANTS='-only REGEXP' runs some.
mutants: deps ## take every protection out, one at a time: the tests must notice; write docs/reliability.md
	@mkdir -p build
	@go build -o build/mutants-run ./torture/mutants && $(SUDO) build/mutants-run -docs docs/reliability.md $(MUTANTS)

# KILL='-case update:120:after' tries one case.
KILL ?= -all -docs $(CURDIR)/docs/reliability.md
kill: deps ## kill agent and repo-tool at every system call; write docs/reliability.md
	$(ROOT_TEST) -v -count=1 -timeout 60m ./torture/kill -args $(KILL)

clean: ## remove what was built
	rm -rf bin build
