# `make` lists the targets. Each sets up what it needs (tools/setup), which does nothing if that is done already.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-down try test lint unit integration pi test-cases test-wifi image test-image image-compare bench bench-fleet bench-site history-upgrade card-bytes soak generate format lock site vault site-card check provision configure \
	rollback drift verify doctor report wheels wheel clean

# Virtual Pis need root: namespaces, mounts, systemd-nspawn. Root writes no bytecode files into this folder.
ROOT := $(if $(filter 0,$(shell id -u)),,sudo) env PYTHONDONTWRITEBYTECODE=1
PYTHON := .venv/bin/python
# The passwords of the vaults: for all sites, and for single sites (make vault SITE=north).
VAULT := $(if $(wildcard inventory/.vault-password),--vault-password-file inventory/.vault-password,) \
	$(foreach file,$(wildcard inventory/.vault-password-*),--vault-id $(file:inventory/.vault-password-%=%)@$(file))
PLAYBOOK := $(PYTHON) tools/playbook.py $(VAULT) $(if $(LIMIT),--limit '$(LIMIT)',) $(ARGS)

help: ## List the targets (the default)
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: ## Boot a virtual Pi, provision it, and show the values that an ESP32 writes and an Opta reads (LIKE=imager)
	@tools/setup virtual-pi
	@$(ROOT) $(PYTHON) -m tests.demo up $(if $(LIKE),--like '$(LIKE)',)

demo-down: ## Remove the demo's virtual Pi and its networks
	@$(ROOT) $(PYTHON) -m tests.demo down

try: ## Run a simulated ESP32, the concentrator and a simulated Opta on this machine, without root or hardware
	@tools/setup venv
	@tools/try

test: ## Run lint, unit tests, integration tests and the tests on virtual Pis
	@tools/setup virtual-pi
	@$(MAKE) --no-print-directory lint unit integration pi ARGS=

lint: ## Run ruff, mypy, yamllint, ansible-lint, shellcheck and the check of the word list
	@tools/setup venv
	$(PYTHON) tools/words.py
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/yamllint --strict .
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline --strict
	.venv/bin/shellcheck $$(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh' | grep -v '\.j2$$')

unit: ## Run the tests of single modules, roles and documents (pytest options: ARGS='-k name')
	@tools/setup venv
	.venv/bin/pytest tests/unit $(ARGS)

integration: ## Run the tests of the whole program on this machine (ARGS as above)
	@tools/setup virtual-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/integration -m 'not pi' $(ARGS)

pi: ## Run the tests on virtual Pis (ARGS as above)
	@tools/setup virtual-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/integration -m 'pi and not cases' -v $(ARGS)

test-cases: ## Run the slow tests on virtual Pis, which `make test` leaves out (about 35 minutes; ARGS as above)
	@tools/setup virtual-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/integration -m cases -v --durations=0 $(ARGS)

test-wifi: ## Test the network role over simulated Wi-Fi in a virtual machine (about 35 minutes; not part of `make test`)
	@tools/setup radio-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/wifi -v --durations=0 $(ARGS)

# In each zone, the concentrator's address and a client's, in a separate network namespace.
BENCH_ADDRESSES := 192.168.1.100 192.168.1.50 192.168.2.100 192.168.2.10
bench: ## Compare the concentrator's speed with libmodbus, pymodbus and pyModbusTCP (about 7 minutes; ARGS=--help)
	@tools/setup virtual-pi
	@unshare --map-root-user --net sh -c 'ip link set lo up && \
		for address in $(BENCH_ADDRESSES); do ip address add $$address/24 dev lo || exit; done && \
		exec $(PYTHON) -m bench $(ARGS)'

history-upgrade: ## Upgrade a history of 1 GiB of the release before, roll back and upgrade again (about 3 minutes; ARGS=--help)
	@tools/setup venv
	@$(PYTHON) -m tests.history_upgrade $(ARGS)

card-bytes: ## Measure what history, journal and audit trail write to a card in a year (about 12 minutes; ARGS=--help)
	@tools/setup venv
	@$(ROOT) $(PYTHON) -m tests.history_bytes $(ARGS)

bench-fleet: ## Compare the time to redeploy 20 virtual Pis with pyinfra's (about 30 minutes; ARGS=--help)
	@tools/setup peers
	@$(ROOT) $(PYTHON) -m bench.fleet $(ARGS)

bench-site: ## Show by role where the time of provisioning one virtual Pi goes (about 2 minutes)
	@tools/setup virtual-pi
	@$(ROOT) $(PYTHON) -m bench.fleet.times $(ARGS)

soak: ## Run the concentrator under faults and print what was lost (about 9 minutes; ARGS=--help)
	@tools/setup virtual-pi
	@$(ROOT) $(PYTHON) -m soak $(ARGS)

image: ## Build the image that is flashed to a card (image_architecture=amd64, image_kernel=backports or image_base=FILE.img)
	@tools/setup image
	@$(ROOT) $(PYTHON) -m tools.image build $(if $(image_architecture),--architecture $(image_architecture),) \
		$(if $(image_kernel),--kernel $(image_kernel),) $(if $(image_base),--base '$(image_base)',) $(ARGS)

test-image: ## Build both images if they are not current, and boot them in virtual machines (about an hour; not part of `make test`)
	@$(MAKE) --no-print-directory image image_architecture=amd64 ARGS=--if-changed
	@$(MAKE) --no-print-directory image image_architecture=arm64 ARGS=--if-changed
	@tools/setup image-tests
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/image -v --durations=0 $(ARGS)

image-compare: ## Compare two images, and name each file that differs (ARGS='first.img second.img')
	@tools/setup image
	@$(ROOT) $(PYTHON) -m tools.image compare $(ARGS)

generate: ## Regenerate what is made from the code: argument specs, tables in docs/, golden files of the templates
	@tools/setup venv
	@PYTHONPATH=src $(PYTHON) -m tools.generate

format: ## Format the code with ruff
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

lock: ## Update the locked requirements
	@tools/setup venv
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/pi.in -o requirements/pi.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c requirements/pi.txt requirements/dev.in -o requirements/dev.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/peers.in -o requirements/peers.txt

site: ## Add a site to the inventory (NAME=east)
	@tools/setup venv
	@$(PYTHON) tools/add_site.py "$(NAME)"

vault: ## Create or edit the inventory's secrets, for all sites or for one (SITE=north)
	@tools/setup venv
	@tools/vault "$(SITE)"

site-card: ## Write a Pi's site card for the boot partition of an image (HOST=pi-north, REPLACES=pi-old)
	@tools/setup venv
	@test -n '$(HOST)' || { echo "make site-card: give HOST=NAME, a Pi of the inventory" >&2; exit 2; }
	$(PLAYBOOK) --limit '$(HOST)' $(if $(REPLACES),-e site_card_replaces='$(REPLACES)',) playbooks/site_card.yml

check: ## Report every mistake in the inventory; touches no Pi (LIMIT=site_north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/check.yml

provision: ## Bring the Pis to the state in the inventory (LIMIT=pi-north, ARGS=--check)
	@tools/setup venv
	$(PLAYBOOK) playbooks/site.yml

configure: ## Redeploy only the configuration, commit-confirmed and one Pi first (LIMIT=site_north, ARGS=--check)
	@tools/setup venv
	$(PLAYBOOK) --diff playbooks/configure.yml

rollback: ## Restore the previous release and its configuration (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/rollback.yml

drift: ## Show how each Pi differs from the inventory, without changing it; fails if one does
	@tools/setup venv
	@ANSIBLE_STDOUT_CALLBACK=drift $(PLAYBOOK) --check --diff playbooks/drift.yml

verify: ## Prove that the Pis match the inventory (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/verify.yml

doctor: ## Check the Pis and show how to fix what is wrong; changes nothing (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/doctor.yml

report: ## Write the doctor's results as a page for the customer (OUT=.cache/report.html)
	@tools/setup venv
	$(PLAYBOOK) playbooks/doctor.yml -e '{"doctor_strict": false}'
	@$(PYTHON) tools/report.py $(if $(OUT),--out $(OUT),)

wheels: ## Download everything that Pis install, so that no Internet is needed at the site
	@tools/setup venv
	@$(PYTHON) tools/wheelhouse.py --fetch

wheel: ## Build the concentrator's wheel into dist/
	@tools/setup venv
	$(PYTHON) -m hatchling build --target wheel

clean: ## Remove everything that was built, including the virtual Pis
	@if [ -x $(PYTHON) ]; then $(ROOT) $(PYTHON) -m tests.virtual_pi down --all; fi
	$(ROOT) rm -rf .venv .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible
