# Two commands: `make quickstart` does all set-up and the main job, `make test` does all set-up and
# passes the tests. Everything is installed into .venv from pyproject.toml. `make test-full` also
# passes what `make test` has no time for; `make test-vllm` tests the optional engine, in an
# environment of its own.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
VENV_VLLM := .venv-vllm

.PHONY: quickstart test test-full test-vllm bench-vllm test-eval-protocol test-log-readers test-terraform lint docs tamper-matrix clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(VENV)/installed
	$(BIN)/strongroom quickstart

# Four workers share two cores, since a run waits for much of its time; torch's threads must not
# spin while they wait.
TESTS := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses=4 --dist=loadgroup --no-loadscope-reorder \
	--durations=60 --durations-min=3

# These fork evaluators, each of which locks its memory and so copies all that its parent has loaded:
# they have a session of their own, whose workers load little.
FORKING := $(addprefix tests/,attacks/test_last_stage.py \
	$(addprefix enclave/evaluator/test_,episodes.py eval_protocol.py process.py))

test: $(VENV)/installed
	$(TESTS) -m "not full" $(FORKING)
	$(TESTS) -m "not full" $(FORKING:%=--ignore=%)

test-full: $(VENV)/installed
	$(TESTS) $(RECORD) $(FORKING)
	$(TESTS) $(RECORD) $(FORKING:%=--ignore=%)

# vLLM in an environment of its own, since it pins other versions. What it brings for pictures and
# sound goes away again: built for other processors, it keeps transformers from being imported.
$(VENV_VLLM)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/pip install --quiet --upgrade pip
	$(VENV_VLLM)/bin/pip install --quiet --editable '.[dev,vllm]'
	$(VENV_VLLM)/bin/pip uninstall --quiet --yes torchaudio torchcodec torchvision
	touch $@

test-vllm: $(VENV_VLLM)/installed
	OMP_WAIT_POLICY=PASSIVE $(VENV_VLLM)/bin/python -m pytest --capture=no --timeout=1800 tests/with_vllm

bench-vllm: $(VENV_VLLM)/installed
	OMP_WAIT_POLICY=PASSIVE $(VENV_VLLM)/bin/python bench/rollout_engines.py

# The real eval-protocol package brings a hundred others, so it lives apart.
.venv-eval-protocol/installed:
	$(PYTHON) -m venv .venv-eval-protocol
	.venv-eval-protocol/bin/pip install --quiet eval-protocol==0.3.33
	touch $@

test-eval-protocol: $(VENV)/installed .venv-eval-protocol/installed
	EVAL_PROTOCOL_PYTHON=$(CURDIR)/.venv-eval-protocol/bin/python \
		$(BIN)/python -m pytest tests/enclave/evaluator/test_eval_protocol_package.py

# Another reader of transparency logs, which shares no code with ours and needs a newer Python.
PYTHON_LOG_READERS ?= python3.12
.venv-log-readers/installed:
	$(PYTHON_LOG_READERS) -m venv .venv-log-readers
	.venv-log-readers/bin/pip install --quiet aics-tlog==0.2.1
	touch $@

test-log-readers: $(VENV)/installed .venv-log-readers/installed
	LOG_READER_PYTHON=$(CURDIR)/.venv-log-readers/bin/python \
		$(BIN)/python -m pytest tests/audit/test_other_reader.py

# Terraform's plugin library needs an older protobuf than Beam, so the provider lives apart, too.
.venv-terraform/installed: terraform/provider/pyproject.toml
	$(PYTHON) -m venv .venv-terraform
	.venv-terraform/bin/pip install --quiet --upgrade pip
	.venv-terraform/bin/pip install --quiet --editable 'terraform/provider[test]'
	touch $@

test-terraform: $(VENV)/installed .venv-terraform/installed
	STRONGROOM_COMMAND=$(CURDIR)/$(BIN)/strongroom \
		.venv-terraform/bin/python -m pytest -c terraform/provider/pyproject.toml terraform/tests

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is done to a stored log, and who notices: prints the page and writes it.
tamper-matrix: $(VENV)/installed
	PYTHONPATH=tests $(BIN)/python -m support.tampering docs/tamper-matrix.md

docs: $(VENV)/installed
	$(BIN)/strongroom docs docs/reference

clean:
	rm -rf $(VENV) $(VENV_VLLM) .venv-eval-protocol .venv-log-readers .venv-terraform .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
