# Set-up, tests, demonstration. Every target does the set-up it needs; what is done already is skipped.

PYTHON := .venv/bin/python
# Many tests wait for processes: one worker more than the two cores. A file stays in one worker, whose fixtures it shares.
SIDE_BY_SIDE := -n 3 --dist loadfile
.DEFAULT_GOAL := help
.PHONY: help setup packages venv tokens pcscd test test-postgresql test-nss boundary-test fault-test fleet-test bench demo check up down clean lock rehearse

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-16s %s\n", $$1, $$2}' Makefile

setup: tokens pcscd ## all set-up: Debian packages, .venv, SoftHSM2 tokens, pcscd with the virtual reader

packages:
	@setup/packages.sh

venv: packages
	@setup/venv.sh

tokens: venv
	@setup/tokens.sh

pcscd: venv
	@setup/pcscd.sh

test: setup ## run all tests, those of both platforms on SQLite and PostgreSQL
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE)

test-postgresql: setup ## run the functional tests with their platforms on a throw-away PostgreSQL
	@KMS_TEST_DATABASE=postgresql $(PYTHON) -m pytest tests/functional

test-nss: setup ## run the functional tests with their platforms on NSS softokn instead of SoftHSM2
	@KMS_TEST_TOKEN=nss $(PYTHON) -m pytest tests/functional

boundary-test: setup ## show that no key crosses where it must not: tokens, files, messages, memory (in test, too)
	@$(PYTHON) -m pytest tests/key_boundary tests/functional/test_key_boundary.py

bench: setup ## measure what the server costs: CPU, calls, statements, large tables (BENCH=--quick: small sizes)
	@$(PYTHON) -m bench.run $(BENCH)

fault-test: setup ## cut a rotation and a creation at every APDU, request, commit and HSM call (about 15 min, 30 at most)
	@$(PYTHON) -m tests.faults

fleet-test: setup ## a simulated year; 1,000 rotations by two nodes under kill and pause; a minute without the HSM
	@KMS_FLEET_TEST=1 $(PYTHON) -m pytest tests/fleet

demo: setup ## watch cards get keys and have them replaced (flows 2 to 5), on two platforms
	@$(PYTHON) -m demo.run

check: setup ## format, lint, types, layers, tests: what a change must pass
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports
	@$(PYTHON) -m pytest $(SIDE_BY_SIDE)

up: setup ## prepare both platforms in var/ (issuer, provider) and serve them until Ctrl-C
	@$(PYTHON) -m demo.up

down: ## stop the pcscd that the set-up started (one that ran before stays)
	@setup/stop.sh

clean: down ## remove all that the set-up made here: .venv, caches, and var/ with its tokens, keys and database
	@rm -rf .venv .state var build kms.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## resolve pyproject.toml into requirements.lock anew (needs uv)
	@setup/lock.sh

rehearse: ## make TARGETS (default: test) from a clean clone of HEAD on a bare Debian 12 in a chroot (needs root)
	@setup/rehearse.sh $(or $(TARGETS),test)
