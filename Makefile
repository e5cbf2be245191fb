# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test fast lint types layers examples smoke campaigns bench reproduction deploy clean

.venv/installed: pyproject.toml constraints.txt  ## compiled is what is imported, not all of 300 MB
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	touch .venv/installed

demo: .venv/installed  ## prune an MLP on scikit-learn's digits without and with AP, five seeds each
	$(BIN)/budbreak run recipes/digits-mlp.toml

test: .venv/installed  ## the whole suite; halves of the list, so that few modules are set up twice
	$(BIN)/python -m pytest -n 2 --dist worksteal

fast: .venv/installed  ## the tests that take less than five seconds each
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/pyright

layers: .venv/installed
	$(BIN)/python -m pytest -q tests/test_layers.py

examples: .venv/installed  ## every script, and every recipe that has code of its own beside it
	set -e; for example in examples/*.py; do echo "$$example"; $(BIN)/python "$$example"; done
	rm -rf build/examples
	set -e; for recipe in examples/*/*.toml; do echo "$$recipe"; $(BIN)/budbreak run "$$recipe" --out build/examples; done

smoke: .venv/installed  ## the main job, short, in a folder of its own
	rm -rf build/smoke
	$(BIN)/budbreak run recipes/digits-mlp.toml --set prune.schedule.levels=2 --set train.epochs=3 --set 'train.schedule.milestones=[2]' --seeds 2 --out build/smoke
	$(BIN)/budbreak report build/smoke/digits-mlp-*
	$(BIN)/budbreak runs build/smoke

campaigns: .venv/installed  ## a short round of each; more: python tests/campaigns/kill.py --rounds 500 --seed 1
	$(BIN)/python tests/campaigns/kill.py --rounds 3
	$(BIN)/python tests/campaigns/recipes.py --rounds 200
	$(BIN)/python tests/campaigns/faults.py --rounds 5
	$(BIN)/python tests/campaigns/readers.py --rounds 100
	$(BIN)/python tests/campaigns/files.py --rounds 10

bench: .venv/installed  ## measure against the peers; a part, or a look: make bench ARGS="mask-step --quick"
	$(BIN)/python -m benchmarks $(ARGS)

reproduction: .venv/installed  ## write the pages of docs/reproduction from the stored cells; new ones: python -m reproductions harvest runs/NAME
	$(BIN)/python -m reproductions write

deploy: .venv/installed  ## write docs/deploy.md from the stored cells; new ones: python -m deployments measure --help
	$(BIN)/python -m deployments write

clean:
	rm -rf .venv build dist
