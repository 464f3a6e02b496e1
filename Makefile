# naru: `make help` lists what there is to do. No target needs root unless it says so.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X naru/internal/cli.version=$(VERSION)
GOBUILD := go build -ldflags '$(LDFLAGS)'
TOOLS   := $(CURDIR)/.cache/tools
CACHE   := $(CURDIR)/.cache
export PATH := $(TOOLS):$(TOOLS)/deb/usr/bin:$(TOOLS)/deb/usr/sbin:$(PATH)
FUZZTIME ?= 20s
# The scanner needs it; without it naru builds all the same, without its scanner.
export GOEXPERIMENT := jsonv2
# As the programs are built, so are tests, linter and lab: what is compiled for one serves all.
export CGO_ENABLED := 0
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath

.PHONY: help build release release-full demo dossier test lint fuzz bench torture e2e docs clean lab-tools lab-up lab-down lab-ssh lab-cut lab-on

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/bundle and bin/install for this machine
	$(GOBUILD) -o bin/bundle ./cmd/bundle
	$(GOBUILD) -o bin/install ./cmd/install
	for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(GOBUILD) -o bin/install-linux-$$arch ./cmd/install; done

release: ## build every published binary into dist/
	for arch in amd64 arm64; do \
	  GOOS=linux GOARCH=$$arch $(GOBUILD) -o dist/install-linux-$$arch ./cmd/install; \
	  GOOS=linux GOARCH=$$arch $(GOBUILD) -o dist/bundle-linux-$$arch ./cmd/bundle; \
	  GOOS=darwin GOARCH=$$arch $(GOBUILD) -o dist/bundle-darwin-$$arch ./cmd/bundle; \
	done
	GOOS=windows GOARCH=amd64 $(GOBUILD) -o dist/bundle-windows-amd64.exe ./cmd/bundle

demo: build ## build, sign, verify, serve and push the demo release from a simulated upstream
	test/tools/tools.sh --dir $(TOOLS) docker-registry helm
	go run ./test/demo -bin bin -cache $(CACHE)/lab -out bundles/demo

dossier: ## open the demo's dossier in Chromium; pictures and PDFs go to .cache/dossier
	[ -d bundles/demo/dossier ] || $(MAKE) demo
	go run ./test/dossier -pages bundles/demo/dossier -out $(CACHE)/dossier

test: ## run the unit and integration tests
	test/tools/tools.sh --dir $(TOOLS) docker-registry zstd rpmbuild createrepo_c gpg sshd
	go test -timeout 20m ./...

lint: ## run golangci-lint
	test/tools/tools.sh --dir $(TOOLS) golangci-lint
	golangci-lint run --build-tags e2e ./...

fuzz: ## run each fuzz target for FUZZTIME
	test/fuzz.sh $(FUZZTIME)

e2e: build ## prove the must-shows with real tools in network namespaces (root)
	test/e2e/run.sh
	test/e2e/yum/run.sh
	test/e2e/apt/run.sh
	go run ./test/release -bin bin -profile minimal
	test/e2e/stack/run.sh
	test/torture/run.sh sample
	$(if $(NARU_SPARE_ROOM),go clean -cache)
	test/cluster/run.sh

bench: build ## measure ratios against plain tools, in one run
	test/bench/run.sh

torture: build ## the full fault counts (CI runs a sample in e2e)
	test/torture/run.sh full
	test/cluster/run.sh -minor -kills 10

LAB ?= lab
LABHOSTS := bin/lab-hosts -lab $(LAB) -cache $(CACHE)/lab
HOST ?=
CMD ?=

bin/lab-hosts: $(wildcard test/lab/hosts/* test/lab/cmd/hosts/*)
	go build -o $@ ./test/lab/cmd/hosts

lab-tools: bin/lab-hosts
	test/tools/tools.sh --dir $(TOOLS) systemd-nspawn debootstrap depmod nft ip ssh >/dev/null

lab-up: lab-tools ## start bare hosts on a segment of their own: docs/lab.md (root)
	$(LABHOSTS) up $(HOST)

lab-down: bin/lab-hosts ## stop them and remove all there was
	$(LABHOSTS) down

lab-ssh: bin/lab-hosts ## a shell on HOST, or CMD there
	$(LABHOSTS) ssh $(HOST) $(CMD)

lab-cut: bin/lab-hosts ## cut the power of HOST
	$(LABHOSTS) cut $(HOST)

lab-on: bin/lab-hosts ## give HOST its power back
	$(LABHOSTS) on $(HOST)

release-full: build ## build all of 2025.1 from a simulated internet filled from the facts
	test/tools/tools.sh --dir $(TOOLS) rpmbuild createrepo_c gpg
	go run ./test/release -bin bin -profile full

docs: ## rewrite docs/cli from the programs, docs/releases from the releases
	go test ./cmd/... -run TestDocs -update
	go test ./internal/overview -run TestPages -update

clean: ## remove what was built, keep caches
	rm -rf bin dist
