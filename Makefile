# Every target is one obvious command; "make" lists them.
#
# Go alone is enough to build and to run. What else the tests need (browsers,
# coturn to compare with) is installed where this runs as root on Debian; else
# make says what is missing and what is therefore not tested.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# How long each fuzz target runs, and which benchmarks.
FUZZTIME ?= 10s
BENCH ?= .
CONFIG ?= configs/dev.yaml

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Serve on this machine with development settings; prints what to open
	@exec bin/switchboard serve -config $(CONFIG)

.PHONY: cluster
cluster: build bin/nats-server ## Three NATS servers and three nodes on this machine; says what to try
	@exec bin/localcluster

# Of the version that go.mod has.
.PHONY: bin/nats-server
bin/nats-server:
	@go build -o bin/nats-server github.com/nats-io/nats-server/v2

.PHONY: call
call: build ## Place a call between two softphones through a server of its own
	@exec bin/softphone trial

.PHONY: build
build: ## Build the programs into bin/
	go build -o bin/ ./cmd/...

.PHONY: test
test: tools lint bpf-check ## Everything: lint, all tests with the race detector, the browser's too
	go test -race -timeout 30m ./...

.PHONY: race
race: ## The tests with the race detector, and nothing else
	go test -race ./...

.PHONY: lint
lint: ## Formatting, go vet, staticcheck
	@unformatted=$$(gofmt -l .); \
	  if [[ -n $$unformatted ]]; then echo "not gofmt'd:" $$unformatted; exit 1; fi
	go vet ./...
	go tool staticcheck ./...

.PHONY: fuzz
fuzz: ## Every fuzz target for a short while (FUZZTIME=10s)
	@go list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do \
	  { grep -shoP '^func \KFuzz\w+' "$$dir"/*_test.go || true; } | while read -r target; do \
	    echo "$$package $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
	  done; \
	done

.PHONY: bench
bench: ## The benchmarks (BENCH=pattern)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

# What compiles the program that the relay runs in the kernel, with nothing that may be set here having
# its say, so that it comes to the same bytes everywhere. Into BPF_OUTPUT, or where it is kept.
BPF_TOOLS := clang-19:clang-19 llvm-strip-19:llvm-19
BPF_GENERATE := env -u BPF2GO_CC -u BPF2GO_STRIP -u BPF2GO_FLAGS -u BPF2GO_CFLAGS -u BPF2GO_MAKEBASE \
  -u CPATH -u C_INCLUDE_PATH -u CCC_OVERRIDE_OPTIONS -u GOOS -u GOARCH BPF_OUTPUT="$$output" go generate ./relay/internal/offload

.PHONY: bpf
bpf: ## Compile the relay's program for the kernel again, which is committed (clang 19)
	@$(MAKE) tools TOOLS='$(BPF_TOOLS)'
	@output=; $(BPF_GENERATE)

.PHONY: bpf-check
bpf-check: ## Whether what is committed is what that program compiles to
	@$(MAKE) tools TOOLS='$(BPF_TOOLS)'
	@for t in $(BPF_TOOLS); do command -v "$${t%%:*}" >/dev/null || { \
	    echo "not checked: whether relay/internal/offload/program_bpf* are what relay.bpf.c compiles to, as $${t%%:*} is missing"; \
	    [[ $${CI:-} != true ]]; exit; }; done; \
	  output=$$(mktemp -d); trap 'rm -rf "$$output"' EXIT; \
	  $(BPF_GENERATE); \
	  for f in "$$output"/*; do cmp -s "$$f" relay/internal/offload/"$${f##*/}" || { \
	    echo "relay/internal/offload/$${f##*/} is not what relay.bpf.c compiles to: run make bpf, and commit what it makes"; exit 1; }; done

# What make bpf-kernels is told, such as -suites bookworm, or -run '^TestOpen$$'; -h has the rest.
BPF_KERNELS ?=

.PHONY: bpf-kernels
bpf-kernels: ## That program on the kernels of Debian 12 and newer, in virtual machines (some minutes each)
	@$(MAKE) tools TOOLS='qemu-system-x86_64:qemu-system-x86 xz:xz-utils'
	@CGO_ENABLED=0 go build -o bin/ ./relay/internal/offload/kernels
	@exec bin/kernels $(BPF_KERNELS)

# What make bench-relay is told, such as -quick, or -only switchboard-ebpf -rows '^up/172/64$$'.
BENCH_RELAY ?=

.PHONY: bench-relay
bench-relay: ## What a packet costs the relay's data paths, coturn and a router; needs root (BENCH_RELAY='-quick')
	@go build -o bin/ ./cmd/switchboard ./cmd/switchboard/internal/benchrelay
	@exec bin/benchrelay $(BENCH_RELAY)

# How long make chaos breaks things, beside what it does to disks: long enough that
# every fault has its turn.
CHAOS ?= 15m

.PHONY: chaos
chaos: ## Break a cluster of 3 + 3, part by part, and check that nothing is lost (CHAOS=15m)
	@go test -v -count=1 -timeout 0 -run '^Test(Chaos|PowerCut|PowerCutTells|FullDisk)$$' ./cmd/switchboard/internal/chaos -chaos $(CHAOS)

# How many races of each kind make races runs.
RACES ?= 10000

.PHONY: races
races: ## Two call each other at once, three devices answer at once, over two nodes (RACES=10000)
	@go test -v -count=1 -timeout 0 -run '^TestRaces$$' ./cmd/switchboard/internal/races -races $(RACES)

# How long make offload-races races; make test does for 15 s.
OFFLOAD_RACES ?= 10m

.PHONY: offload-races
offload-races: ## Channels come and go in the kernel's data path, under load, while it is switched; needs root (OFFLOAD_RACES=10m)
	@go test -race -v -count=1 -timeout 0 -run '^TestOffloadRaces$$' ./relay -offload-races $(OFFLOAD_RACES)

.PHONY: kills
kills: tools ## kill -9 nodes in every state of a call and its relay, drain one, cut sockets, change an address; the gaps
	@go test -v -count=1 -run '^TestKills$$' ./cmd/switchboard/internal/kills
	@go test -v -count=1 -run '^Test(RelayOfACall|SocketIsAway|TheAddressChanges)' ./signaling/web | { grep -E '^(---|FAIL|ok)|(after|later|without)' || true; }

.PHONY: regions
regions: ## Three relays in three regions: which one each call gets, also when one is drained or killed; the gaps
	@go test -v -count=1 -run '^TestRegions$$' ./cmd/switchboard/internal/regions -all | { grep -vE '^(=== |    --- PASS)' || true; }

# How often each call of make natlab-seeds is placed.
SEEDS ?= 100

.PHONY: natlab-seeds
natlab-seeds: ## Every pair of NATs in virtual time, SEEDS=100 times each; some minutes
	go build -o bin/ ./cmd/natlab
	bin/natlab run matrix --repeat $(SEEDS)

# How many calls make natlab places at once; each is six processes and a dozen namespaces. Its
# short form, for every change, is the test of cmd/natlab/internal/processes.
JOBS ?= 2

.PHONY: natlab
natlab: tools ## Calls behind real NATs, with softphones and Chromium, and every event; needs root (a quarter of an hour)
	go build -o bin/ ./cmd/natlab
	bin/natlab doctor
	bin/natlab run classic same-nat same-nat-hairpin same-carrier same-carrier-hairpin --engine kernel --jobs $(JOBS)
	bin/natlab run relay-killed relay-drained node-killed node-drained wifi-to-mobile nat-reboot network-gone-10s vpn --engine kernel --jobs $(JOBS)
	bin/natlab run browsers --engine kernel --browser

.PHONY: natlab-offload
natlab-offload: tools ## Calls whose relays must relay in the kernel (eBPF), with softphones and Chromium; needs root (4 minutes)
	go build -o bin/ ./cmd/natlab
	bin/natlab run classic --case "symmetric x symmetric" --engine kernel --data-path ebpf
	bin/natlab run classic --case "symmetric x port-restricted" --engine kernel --data-path ebpf
	bin/natlab run relay-drained relay-killed wifi-to-mobile --engine kernel --data-path ebpf --jobs $(JOBS)
	bin/natlab run browsers --case "symmetric x symmetric" --browser --data-path ebpf

# Programs that tests use, each with the Debian package that brings it.
TOOLS := chromium:chromium firefox-esr:firefox-esr turnserver:coturn ip:iproute2 nft:nftables tcpdump:tcpdump $(BPF_TOOLS)

.PHONY: tools
tools: ## Install what the tests need beside Go, where that is possible
	@missing=(); \
	for t in $(TOOLS); do command -v "$${t%%:*}" >/dev/null || missing+=("$${t##*:}"); done; \
	if [[ $${#missing[@]} -eq 0 ]]; then exit 0; fi; \
	if [[ $$(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$${missing[@]}" >/dev/null; \
	elif [[ $${CI:-} = true ]]; then \
	  echo "missing, and CI tests everything: $${missing[*]}"; exit 1; \
	else \
	  echo "missing: $${missing[*]}. The tests that use them will be skipped."; \
	fi
