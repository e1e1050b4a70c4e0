# Two commands do everything: `make serve` (the main job) and `make test`. `make check` is what a change must pass.
PYTHON ?= python3
EXTRA ?= cpu
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: serve test check test-openvino format clean image container-test manifests lock sbom audit

serve: $(VENV)/.serve
	$(BIN)/headrace serve examples/models --replicas 2

test: $(VENV)/.test
	$(BIN)/python -m pytest

# The seam to execution providers, tried with one that is not ONNX Runtime's own. It takes the place of onnxruntime,
# so it has an environment of its own; no part of `make test`.
test-openvino: $(VENV)-openvino/.test
	$(VENV)-openvino/bin/python -m pytest tests/executor/test_openvino.py

check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Containers: with docker, podman, or on Debian as root what apt-get brings.
TARGET ?= cpu
image:
	docker/with-engine.sh docker/build.sh $(TARGET)

# 75 from with-engine.sh: this machine can run no container, and it has said why.
container-test: $(VENV)/.manifests
	docker/with-engine.sh sh -c 'docker/build.sh cpu && $(BIN)/python -m pytest tests/docker' || [ $$? = 75 ]

manifests: $(VENV)/.manifests
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/python -m pytest tests/docker/test_manifests.py

lock: $(VENV)/.manifests
	for extra in cpu gpu; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: --generate-hashes --no-header \
	    --constraint constraints.txt --extra s3 pyproject.toml docker/$$extra.in --output-file docker/requirements-$$extra.txt; done

sbom: $(VENV)/.manifests
	mkdir -p dist
	for extra in cpu gpu; do $(BIN)/cyclonedx-py requirements docker/requirements-$$extra.txt --of JSON \
	  --output-file dist/sbom-$$extra.json; done

audit: $(VENV)/.manifests
	for extra in cpu gpu; do $(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement docker/requirements-$$extra.txt; done

format: $(VENV)/.test
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-openvino

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Headrace needs Python 3.11 or later; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[$(EXTRA)]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[$(EXTRA),check,test]'
	@touch $@ $(VENV)/.serve

$(VENV)/.manifests: $(VENV)/.test
	$(PIP) --editable '.[$(EXTRA),check,test,manifests]'
	@touch $@

$(VENV)-openvino/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-openvino
	$(VENV)-openvino/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt \
		--editable '.[test]' 'onnxruntime-openvino>=1.23'
	@touch $@
