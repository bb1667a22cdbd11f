# What is typed often. The whole check, servers and wheel included, is .ci/run.
PYTHON ?= .venv/bin/python

.PHONY: accuracy compiled test lint demo

# How well labelled mail is read and judged; GROUP=source or GROUP=family for figures per group.
accuracy:
	$(PYTHON) -W ignore benchmarks/accuracy.py $(if $(GROUP),--group $(GROUP))

# The package in build/compiled, what every letter goes through as machine code (hatch_build.py).
compiled:
	rm -rf build/compiled
	BOUNCED_COMPILE=1 $(PYTHON) -m pip install -q --no-deps --target build/compiled .

test:
	$(PYTHON) -m pytest -q

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(dir $(PYTHON))lint-imports

demo:
	$(PYTHON) -c 'from bounced.cli import main; main()' demo
