# Everything one does with the source of pyro. `make help` lists the targets.
# Needs Go, make and git; a C compiler too for the race detector.

GO       ?= go
PYTHON   ?= python3
GOARCH   ?= $(shell $(GO) env GOARCH)
PREFIX   ?= /usr/local
FUZZTIME ?= 20s
COUNT    ?= 5

# The commands below name packages of the main module; a workspace of the
# user's must not change what they mean. Version control stamps are off: they
# fail in a checkout that belongs to another user, and the version is ours.
export GOWORK  = off
export GOFLAGS = -buildvcs=false

TOOLS := bin/tools
AGENT := internal/agent/embedded/bin/pyro-agent-$(GOARCH)

# Everything but the race tests is compiled in one mode, so that gVisor is
# compiled once for build, vet, lint, benchmarks and fuzzing together.
STATIC := CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) -trimpath"

GVISOR_VERSION = $(shell $(GO) list -m -f '{{.Version}}' gvisor.dev/gvisor)
LDFLAGS = -s -w -X gvisor.dev/gvisor/runsc/version.version=$(GVISOR_VERSION)
ifdef VERSION
LDFLAGS += -X pyro/api.Version=$(VERSION)
endif

# The race detector needs cgo, which needs a C compiler with the C library's
# headers: try, instead of looking for a name.
CAN_RACE := $(shell echo '\#include <stdlib.h>' | $$($(GO) env CC) -E -x c - >/dev/null 2>&1 && echo yes)
ifeq ($(CAN_RACE),yes)
TEST_MODE  := CGO_ENABLED=1
TEST_FLAGS := -race
else
TEST_MODE  := $(STATIC)
endif

.PHONY: build
build: agent ## Build bin/pyro, one static program
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/pyro ./cmd/pyro

.PHONY: agent
agent: ## Build the guest agent that bin/pyro carries
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(AGENT) ./cmd/pyro-agent

.PHONY: run
run: build ## Build, then run a first command in a sandbox
	bin/pyro run debian:12 -- git --version

.PHONY: test
test: build vet $(TOOLS)/testreport ## Build, then vet, unit tests and scripts against bin/pyro
ifneq ($(CAN_RACE),yes)
	@echo "test: no working C compiler here, so the race detector is off (install gcc and libc6-dev to have it)"
	@test -z "$$PYRO_REQUIRE_RACE" || { echo "test: PYRO_REQUIRE_RACE is set" >&2; exit 1; }
endif
	$(GO) -C tools test ./...
	PYRO_BIN="$(CURDIR)/bin/pyro" $(TEST_MODE) $(TOOLS)/testreport $(TEST_FLAGS) -count=1 -timeout=60m $(TESTARGS) ./...

.PHONY: test-scripts
test-scripts: build $(TOOLS)/testreport ## Run the scripts only; TESTARGS='-run TestScripts/run_exit' picks one
	PYRO_BIN="$(CURDIR)/bin/pyro" $(STATIC) $(TOOLS)/testreport -count=1 -timeout=40m $(TESTARGS) .

.PHONY: vet
vet: agent
	$(STATIC) $(GO) vet ./...

.PHONY: lint
lint: agent $(TOOLS)/golangci-lint vuln-if-reachable ## Style, layers and known vulnerabilities
	$(STATIC) $(TOOLS)/golangci-lint run ./...
	cd tools && ../$(TOOLS)/golangci-lint run --config ../.golangci.yml ./...
	$(GO) mod verify

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint ## Format the code as lint wants it
	$(TOOLS)/golangci-lint fmt ./...

.PHONY: vuln
vuln: agent $(TOOLS)/govulncheck ## Known vulnerabilities in what pyro really calls; needs vuln.go.dev
	$(STATIC) $(TOOLS)/govulncheck ./...

# A machine without a road to the database cannot be told clean, only
# unchecked; it says so and does not hold up lint. `make vuln` fails instead.
.PHONY: vuln-if-reachable
vuln-if-reachable: agent $(TOOLS)/govulncheck
	@if timeout 60 $(TOOLS)/govulncheck -version | grep -q '^DB updated'; then $(STATIC) $(TOOLS)/govulncheck ./...; \
	else echo "lint: NOT CHECKED for known vulnerabilities: the database at vuln.go.dev cannot be reached"; fi

BENCH_RUN = cd bench && PYRO_BIN="$(CURDIR)/bin/pyro" PYRO_BENCH_RUNSC="$(CURDIR)/$(TOOLS)/runsc" ../bin/bench/bench.test -doc ../docs/benchmarks.md

.PHONY: bench
bench: build bench-program $(TOOLS)/runsc ## Compare with raw runsc and others, into docs/benchmarks.md (root, 10 minutes)
	$(BENCH_RUN) -compare $(BENCHARGS)

.PHONY: bench-workspaces
bench-workspaces: build bench-program $(TOOLS)/runsc ## Compare workspaces with raw runsc, git and tar, likewise (25 minutes)
	$(BENCH_RUN) -workspaces $(BENCHARGS)

.PHONY: bench-shells
bench-shells: build bench-program $(TOOLS)/runsc ## Compare shells with raw runsc, likewise (3 minutes)
	$(BENCH_RUN) -shells $(BENCHARGS)

.PHONY: bench-network
bench-network: build bench-program $(TOOLS)/runsc ## Compare the network with raw runsc over slirp4netns, likewise (3 minutes)
	$(BENCH_RUN) -network $(BENCHARGS)

.PHONY: bench-environments
bench-environments: build bench-program ## Compare cold builds of the environments with mmdebstrap, likewise
	$(BENCH_RUN) -environments $(BENCHARGS)

.PHONY: bench-microvms
bench-microvms: build bench-program ## Compare microVMs with gVisor, under KVM or emulated, likewise (root, 3 minutes)
	$(BENCH_RUN) -microvms $(BENCHARGS)

.PHONY: bench-program
bench-program: agent
	$(STATIC) $(GO) test -c -o bin/bench/bench.test ./bench

.PHONY: bench-go
bench-go: build $(TOOLS)/benchstat ## Go benchmarks; bin/bench/old.txt, if there, is compared with
	@mkdir -p bin/bench
	PYRO_BIN="$(CURDIR)/bin/pyro" $(STATIC) $(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) -timeout 60m $(TESTARGS) ./... | tee bin/bench/new.txt
	@if [ -f bin/bench/old.txt ]; then $(TOOLS)/benchstat bin/bench/old.txt bin/bench/new.txt; else $(TOOLS)/benchstat bin/bench/new.txt; fi

# What pyro is compared with: gVisor's own program, of the very version in go.mod.
$(TOOLS)/runsc: go.mod
	env -u GOARCH GOBIN="$(CURDIR)/$(TOOLS)" CGO_ENABLED=0 $(GO) install -trimpath -ldflags "$(LDFLAGS)" gvisor.dev/gvisor/runsc@$(GVISOR_VERSION)
	touch $@

# The tag leaves gVisor's sandbox out of what is tested, which cannot be instrumented.
# Unless told otherwise, go test makes each input that reaches something new smaller
# for up to a minute, and tries no others meanwhile.
.PHONY: fuzz
fuzz: agent ## Run each fuzz target for FUZZTIME (20s)
	@grep -rEoH --include='*_test.go' '^func Fuzz[[:alnum:]_]+' . | sort | while IFS=: read -r file func; do \
		dir=$${file%/*}; name=$${func#func }; echo "fuzz: $$dir $$name"; \
		$(STATIC) $(GO) test -tags fuzz -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$dir" </dev/null || exit 1; \
	done

.PHONY: generate
generate: agent ## Make the derived files again
	$(STATIC) $(GO) generate ./...

.PHONY: wheel
wheel: build ## Write a wheel of the Python package, with bin/pyro inside, into dist/
	$(PYTHON) sdk/python/wheels.py --binary bin/pyro --out dist $(if $(VERSION),--version $(VERSION))

.PHONY: types
types: bin/python/ready ## Check the types of the Python package; needs PyPI once
	cd sdk/python && ../../bin/python/bin/mypy --cache-dir=../../bin/python/mypy

.PHONY: test-python
test-python: build types $(TOOLS)/testreport ## Check the types of the Python package, then run its tests
	PATH="$(CURDIR)/bin/python/bin:$$PATH" PYRO_BIN="$(CURDIR)/bin/pyro" $(STATIC) $(TOOLS)/testreport -count=1 -timeout=40m -run '^TestPython$$' $(TESTARGS) .

# What checks the Python package; the package itself needs nothing.
bin/python/ready: sdk/python/requirements.txt
	$(PYTHON) -m venv bin/python
	bin/python/bin/pip install --quiet --disable-pip-version-check -r sdk/python/requirements.txt
	touch $@

.PHONY: install
install: build ## Copy bin/pyro to PREFIX/bin (/usr/local/bin)
	install -D -m 0755 bin/pyro "$(DESTDIR)$(PREFIX)/bin/pyro"

.PHONY: clean
clean: ## Remove what make made
	rm -rf bin dist internal/agent/embedded/bin/pyro-agent-*

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 16

# The tools are pinned in the module tools/, apart from pyro's own dependencies.
# They run on this machine, whatever GOARCH the product is built for.
TOOL_BUILD = env -u GOARCH GOBIN="$(CURDIR)/$(TOOLS)" $(GO) -C tools install

$(TOOLS)/testreport: $(wildcard tools/testreport/*.go)
	$(TOOL_BUILD) ./testreport

$(TOOLS)/golangci-lint: tools/go.mod tools/go.sum
	$(TOOL_BUILD) github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/govulncheck: tools/go.mod tools/go.sum
	$(TOOL_BUILD) golang.org/x/vuln/cmd/govulncheck

$(TOOLS)/benchstat: tools/go.mod tools/go.sum
	$(TOOL_BUILD) golang.org/x/perf/cmd/benchstat
