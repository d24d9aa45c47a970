# Two commands for everybody: `make demo` and `make test`. Nothing is installed; everything lands in target/ and .tools/.

# Where rustup puts cargo, which a minimal PATH may not name.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO ?= cargo
TARGET = $${CARGO_TARGET_DIR:-target}
# Words for `sightline demo`, such as `make demo DEMO=--keep`.
DEMO ?=

.PHONY: help demo test check crash sim oracle sigma fuzz bench bench-quick cargo

help:
	@echo 'make demo   replay two recorded intrusions through a real NATS server, and check every firing'
	@echo 'make test   run all tests, those against a real NATS server too'
	@echo 'make check  formatting and lints'
	@echo 'make crash  the long run: worker and server killed 1,000 times (KILLS=n), each bridge 30 times (BRIDGE_KILLS=n)'
	@echo 'make sim    the long run: 10,000 simulated lives of a worker (SEEDS=n)'
	@echo 'make bench  what is reached, measured against every target (long); make bench-quick in five minutes'
	@echo 'make sigma  the long run: SigmaHQ against rsigma, 20,000 random correlations against pySigma (EACH=n)'
	@echo 'make oracle the long run: 200,000 random histories against the definition (CASES=n)'
	@echo 'make fuzz   the long run: every place where bytes come in, coverage-guided, an hour (SECONDS=n)'

# The dev profile: the demo itself takes about three seconds with it, and `make test` uses the same build.
demo: cargo
	@server=$$(sh deploy/nats-server.sh) && \
	$(CARGO) build --locked --workspace --bins && \
	NATS_SERVER_BIN="$$server" "$(TARGET)/debug/sightline" demo $(DEMO)

# The programs first: a test runs the demo, which needs those of all crates.
test: cargo
	@server=$$(sh deploy/nats-server.sh) && export NATS_SERVER_BIN="$$server" && \
	$(CARGO) build --locked --workspace --bins && \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --locked --workspace && $(CARGO) test --locked --workspace --doc; \
	else \
		$(CARGO) test --locked --workspace; \
	fi

check: cargo
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# The long runs of what `make test` runs in short.
KILLS ?= 1000
BRIDGE_KILLS ?= 30
SEEDS ?= 10000
CASES ?= 200000

crash: cargo
	@server=$$(sh deploy/nats-server.sh) && \
	export NATS_SERVER_BIN="$$server" && \
	SIGHTLINE_TEST_CRASH_KILLS=$(KILLS) $(CARGO) test --locked --test crash -- --nocapture && \
	SIGHTLINE_TEST_CRASH_KILLS=$(KILLS) $(CARGO) test --locked -p sightline-producers --test crash -- --nocapture && \
	SIGHTLINE_TEST_BRIDGE_KILLS=$(BRIDGE_KILLS) \
	$(CARGO) test --locked -p sightline-producers --test bridge crash:: -- --nocapture --test-threads 2

sim: cargo
	SIGHTLINE_TEST_SIM_SEEDS=$(SEEDS) $(CARGO) test --locked --test sim -- --nocapture

oracle: cargo
	SIGHTLINE_TEST_ORACLE_CASES=$(CASES) $(CARGO) test --locked --test oracle -- --nocapture

# Of each type and each order; there are 40 of these. The events are those of SIGHTLINE_DATA, where that is set.
EACH ?= 500

sigma: cargo
	SIGHTLINE_TEST_SIGMA_EVENTS=20000 SIGHTLINE_TEST_SIGMA_CASES=$(EACH) $(CARGO) test --locked --release --test sigma -- --nocapture

# All five at a time.
SECONDS ?= 3600

fuzz: cargo
	@fuzz/run $(SECONDS)

# What is reached, measured: every target with its ratio. `BENCH="--json now.json --compare then.json"`.
BENCH ?=
PERF = $(CARGO) bench --locked -p sightline-benches --bench load --

bench: cargo
	@server=$$(sh deploy/nats-server.sh) && NATS_SERVER_BIN="$$server" $(PERF) --plot target/scale.svg \
	--lines "$(CARGO) bench --locked --quiet -p sightline --bench state" \
	--lines "$(CARGO) bench --locked --quiet -p sightline-producers --bench publish" $(BENCH)

bench-quick: cargo
	@server=$$(sh deploy/nats-server.sh) && NATS_SERVER_BIN="$$server" $(PERF) --quick $(BENCH)

cargo:
	@command -v $(CARGO) >/dev/null || \
	{ echo 'There is no cargo: install Rust 1.95 or newer, from https://rustup.rs or your distribution.' >&2; exit 1; }
