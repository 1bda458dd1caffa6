# `make` lists the targets. Each does its own set-up (tools/setup), and does nothing where it is done already.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-down try test lint unit integration pi test-wifi bench bench-fleet soak format lock site vault check provision configure \
	rollback drift verify doctor report wheels wheel clean

# Virtual Pis need root: namespaces, mounts, systemd-nspawn. Root leaves no files of its own in this folder.
ROOT := $(if $(filter 0,$(shell id -u)),,sudo) env PYTHONDONTWRITEBYTECODE=1
PYTHON := .venv/bin/python
# The password for all sites, and those of single sites (make vault SITE=north).
VAULT := $(if $(wildcard inventory/.vault-password),--vault-password-file inventory/.vault-password,) \
	$(foreach file,$(wildcard inventory/.vault-password-*),--vault-id $(file:inventory/.vault-password-%=%)@$(file))
PLAYBOOK := .venv/bin/ansible-playbook $(VAULT) $(if $(LIMIT),--limit '$(LIMIT)',) $(ARGS)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: ## Boot a virtual Pi, provision it, let an ESP32 write and an Opta read; ends with their values
	@tools/setup virtual-pi
	@$(ROOT) $(PYTHON) -m tests.demo up

demo-down: ## Remove the demo's virtual Pi and its networks
	@$(ROOT) $(PYTHON) -m tests.demo down

try: ## Run ESP32, concentrator and Opta side by side on this machine; no root, no hardware
	@tools/setup venv
	@tools/try

test: ## Lint, unit, integration, and all that is shown on virtual Pis
	@tools/setup virtual-pi
	@$(MAKE) --no-print-directory lint unit integration pi

lint: ## ruff, mypy, yamllint, ansible-lint, shellcheck
	@tools/setup venv
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/yamllint --strict .
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline --strict
	.venv/bin/shellcheck $$(git ls-files | xargs grep -lE '^#!/bin/(ba)?sh' | grep -v '\.j2$$')

unit: ## Tests without sockets
	@tools/setup venv
	.venv/bin/pytest tests/unit

integration: ## Tests with real sockets on this machine
	@tools/setup virtual-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/integration -m 'not pi'

pi: ## Tests on virtual Pis
	@tools/setup virtual-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/integration -m pi -v

test-wifi: ## The network role over real Wi-Fi, in a virtual machine (some 35 minutes; not part of `make test`)
	@tools/setup radio-pi
	$(ROOT) .venv/bin/pytest -p no:cacheprovider tests/wifi -v --durations=0

bench: ## Measure the concentrator beside libmodbus, pymodbus and pyModbusTCP; some 7 minutes (ARGS=--help)
	@tools/setup virtual-pi
	@unshare --map-root-user --net sh -c 'ip link set lo up && exec $(PYTHON) -m bench $(ARGS)'

bench-fleet: ## Measure a redeployment over 20 virtual Pis beside pyinfra; some 30 minutes (ARGS=--help)
	@tools/setup peers
	@$(ROOT) $(PYTHON) -m bench.fleet $(ARGS)

soak: ## Put the concentrator through hardships, print what was lost; some 4 minutes (ARGS=--help)
	@tools/setup virtual-pi
	@$(ROOT) $(PYTHON) -m soak $(ARGS)

format: ## Let ruff format the code
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

lock: ## Lock the requirements anew, with hashes
	@tools/setup venv
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/pi.in -o requirements/pi.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c requirements/pi.txt requirements/dev.in -o requirements/dev.txt
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header requirements/peers.in -o requirements/peers.txt

site: ## Add a site to the inventory (NAME=east)
	@tools/setup venv
	@$(PYTHON) tools/add_site.py "$(NAME)"

vault: ## Make or edit the inventory's secrets, of all sites or of one (SITE=north)
	@tools/setup venv
	@tools/vault "$(SITE)"

check: ## Say everything that is wrong with the inventory; touches no Pi (LIMIT=site_north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/check.yml

provision: ## Bring the Pis to what the inventory says (LIMIT=pi-north, ARGS=--check)
	@tools/setup venv
	$(PLAYBOOK) playbooks/site.yml

configure: ## Redeploy configuration alone, one Pi first, each proven or undone (LIMIT=site_north, ARGS=--check)
	@tools/setup venv
	$(PLAYBOOK) --diff playbooks/configure.yml

rollback: ## Go back to the release before, with the configuration that ran with it (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/rollback.yml

drift: ## Say what on each Pi differs from the inventory, and change nothing; fails where something does
	@tools/setup venv
	@ANSIBLE_CALLBACK_PLUGINS=playbooks/callback_plugins ANSIBLE_STDOUT_CALLBACK=drift $(PLAYBOOK) --check --diff playbooks/drift.yml

verify: ## Prove that the Pis are what the inventory says (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/verify.yml

doctor: ## Check the Pis: what is wrong, and how to fix it; changes nothing (LIMIT=pi-north)
	@tools/setup venv
	$(PLAYBOOK) playbooks/doctor.yml

report: ## Make a page of the doctor's results for the customer (OUT=.cache/report.html)
	@tools/setup venv
	$(PLAYBOOK) playbooks/doctor.yml -e '{"doctor_strict": false}'
	@$(PYTHON) tools/report.py $(if $(OUT),--out $(OUT),)

wheels: ## Fetch all that Pis install, so that the controller needs no Internet at the site
	@tools/setup venv
	@$(PYTHON) tools/wheelhouse.py --fetch

wheel: ## Build the concentrator's wheel into dist/
	@tools/setup venv
	$(PYTHON) -m hatchling build --target wheel

clean: ## Remove what was built; virtual Pis and their cached root, too
	@if [ -x $(PYTHON) ]; then $(ROOT) $(PYTHON) -m tests.virtual_pi down --all; fi
	$(ROOT) rm -rf .venv .cache dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .ansible
