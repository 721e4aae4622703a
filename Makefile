# Both work on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint matrix lowest test-third-party release-check site bench bench-small clean

demo: .venv/demo
	$(BIN)/lightning-failures demo --out demo

test: .venv/test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The oldest and the newest Lightning that are supported, each in an environment of its own above the packages of .venv.
LIGHTNING ?= 2.5.0 2.6.6
MATRIX_TESTS ?= tests/test_checkpoint.py tests/test_checkpoint_resume.py tests/test_checkpoint_input.py tests/test_checkpoint_processes.py tests/test_checkpoint_wandb.py \
	tests/test_early_stopping.py tests/test_diagnosis.py tests/test_command_line_config.py tests/test_monitor.py

matrix: $(LIGHTNING:%=matrix-%)

matrix-%: .venv/lightning-%/installed
	.venv/lightning-$*/bin/python -c "import lightning; assert lightning.__version__ == '$*', lightning.__version__"
	.venv/lightning-$*/bin/python -m pytest -q -p no:cacheprovider $(MATRIX_TESTS)

.venv/lightning-%/installed: .venv/test
	$(BIN)/python -m venv $(@D)
	echo "import site; site.addsitedir('$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")')" \
		> "$$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(@D)/bin/python -m pip install -q "lightning==$*"
	touch $@

.PRECIOUS: .venv/lightning-%/installed

# The oldest packages that the bounds of pyproject.toml allow, in an environment of their own; some 6 GB, mostly of torch for GPUs.
# Without the extra dashboard, which needs a newer W&B than the extra wandb does.
LOWEST_EXTRAS := report,wandb,timm,imagenet-x,scenes,tensorboard,cli
LOWEST_TESTS ?= tests/test_monitor.py tests/test_factors.py tests/test_collapse.py tests/test_channels.py tests/test_simplicity.py tests/test_package.py \
	tests/test_interchange.py tests/test_reporting_report.py tests/test_metric_plot.py tests/test_watch.py tests/test_command_line_config.py

lowest: .venv/lowest/installed
	.venv/lowest/bin/python tests/lowest.py --installed $(LOWEST_EXTRAS)
	mkdir -p build/lowest && cd build/lowest && ../../.venv/lowest/bin/python ../../tests/quick_start.py
	.venv/lowest/bin/python -m pytest -q -p no:cacheprovider -o filterwarnings=default $(LOWEST_TESTS)
	.venv/lowest/bin/python -m pytest -q -p no:cacheprovider -o filterwarnings=default tests/test_examples.py

.venv/lowest/installed: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv $(@D)
	$(PYTHON) tests/lowest.py $(LOWEST_EXTRAS) > $(@D)/constraints.txt
	$(@D)/bin/pip install -q -c $(@D)/constraints.txt -e ".[$(LOWEST_EXTRAS)]" "pytest>=8" "hypothesis>=6.100" "scikit-learn>=1.5" "statsmodels>=0.14"
	touch $@

# LightningModules of published packages, watched as they are, in an environment of its own above the packages of .venv.
# Outside CI: the packages are many, and none of them is needed here.
test-third-party: .venv/third-party/installed
	.venv/third-party/bin/python -m pytest -q tests/third_party

.venv/third-party/installed: .venv/test tests/third_party/requirements.txt
	$(BIN)/python -m venv $(@D)
	echo "import site; site.addsitedir('$$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")')" \
		> "$$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/below.pth"
	$(@D)/bin/python -m pip install -q -r tests/third_party/requirements.txt
	touch $@

# What a release is: wheel and sdist, checked, and the wheel installed into an environment that holds nothing else. There the
# example of the quick start runs without any extra; then, with the extra for reports, a user's script is type-checked against
# the wheel and run, and so are the commands, outside of this folder. Another Python: make release-check PYTHON=python3.13
WHEEL := .venv/from-wheel/bin

release-check: .venv/release
	rm -rf build/lib build/bdist* build/quick-start dist .venv/from-wheel
	.venv/release/bin/python -m build --outdir dist .
	.venv/release/bin/python -m twine check --strict dist/*
	.venv/release/bin/python tests/release_files.py dist
	$(PYTHON) -m venv .venv/from-wheel
	$(WHEEL)/pip install -q dist/*.whl
	mkdir -p build/quick-start && cp tests/quick_start.py examples/existing_trainer.py build/quick-start
	cd build/quick-start && ../../$(WHEEL)/python existing_trainer.py && ../../$(WHEEL)/lightning-failures --version
	$(WHEEL)/pip install -q "$$(ls dist/*.whl)[report]" mypy
	cd build/quick-start && ../../$(WHEEL)/mypy --strict quick_start.py
	cd build/quick-start && ../../$(WHEEL)/python -W error::DeprecationWarning:lightning_failures quick_start.py
	cd build/quick-start && ../../$(WHEEL)/lightning-failures rules --json rules.json
	@ls -l dist

# The documentation as a site, in build/site. A test builds it too.
site: .venv/test
	$(BIN)/mkdocs build --strict

# How often each planted failure is found and named rightly, into docs/bench.md: hours, taken up again where it stood.
bench: .venv/test
	$(BIN)/python benchmarks/bench.py --out build/bench --processes 2

# A dozen planted and healthy runs afresh, in two minutes of one core; fails where a detection is lost.
bench-small: .venv/test
	$(BIN)/python benchmarks/bench.py --small

.venv/release:
	$(PYTHON) -m venv $@
	$@/bin/pip install -q build twine

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e ".[all]"
	touch $@

.venv/test: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e ".[all,dev,docs]"
	touch $@

clean:
	rm -rf .venv demo
