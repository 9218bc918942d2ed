.PHONY: demo test lint type together alone unit mutants browser docs dist peers onnx-files install clean

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
TORCH := torch==2.13.0
# Where PyTorch's CPU builds are, for machines on which plain `pip install torch` brings those for GPUs (README).
TORCH_INDEX ?=
# Bytecode is written even where the machine's settings say not to: tests start many processes.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(VENV)/bin/pip install --quiet --no-compile --disable-pip-version-check --constraint constraints.txt

# torch first and by its exact version: an open range would bring several gigabytes of GPU packages. Bytecode comes last,
# by two processes, but for what torch keeps for newer Pythons and for packages' own tests and Transformers' models, which
# are two fifths of all and of which little is ever imported; a file that does not compile stops nothing.
$(STAMP): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) --editable '.[test,docs]'
	-$(PYTHON) -m compileall -q -j 2 -x 'py312_|/(tests?|models|plotly|pip|mypy)/' $(VENV)/lib
	touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(VENV)/bin/whet optimize --task digits --max-drop 1% --budget 75s --out runs/demo --restart

lint: $(STAMP)
	$(VENV)/bin/ruff check .

type: $(STAMP)
	nice $(VENV)/bin/mypy

# The report is looked at in a browser. Where none is found and none can be installed, its test is skipped with a line
# that says so; with CI set it fails.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  apt-get install -y -qq --no-install-recommends chromium >/dev/null && exit 0; \
	fi; \
	echo "No browser (chromium, google-chrome): the test that looks at the report in one is skipped."

# Two processes, one thread each, examples of docstrings with them. By default xdist begins with the files of many tests,
# and the long tests, which are alone in theirs, would run last on one process.
together: $(STAMP) browser
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --doctest-modules -m "not alone" tests whet

# The tests that measure time, with the machine for themselves.
alone: $(STAMP)
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m alone $$(grep -rl mark.alone tests --include=*.py)

unit: together
	$(MAKE) alone

# Types are checked by one process for a minute and more: beside the tests, no core waits for it.
test: lint
	$(MAKE) --jobs=2 type together
	$(MAKE) alone

# An hour: each mutation of tests/mutations.toml against its row's tests; ONLY="search.tree" for some rows.
mutants: $(STAMP)
	$(PYTHON) tests/mutants.py $(addprefix --only ,$(ONLY))

# The site, in the folder `site`; tests/test_site.py builds it as strictly.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --site-dir site

# What is published: a source distribution and a wheel; tests/test_wheel.py builds and installs the same.
dist: $(STAMP)
	$(PYTHON) -m build --no-isolation

# Two hours: other tools beside whet on the same seven works, each in an environment of its own in the cache folder.
peers: $(STAMP)
	$(PIP) --editable '.[peers]'
	$(VENV)/bin/whet bench peers --task all --budget 3min --out runs/peers

# The ONNX files of five packages, which tests/onnx_reader/test_onnx_packages.py reads where they are.
WHET_ONNX_FILES ?= $(HOME)/.cache/whet/onnx-files
ONNX_PACKAGES := silero-vad==6.2.3 rapidocr-onnxruntime==1.4.4 basic-pitch==0.4.0 magika==1.0.3 swift-f0==0.3.0
onnx-files: $(STAMP)
	for package in $(ONNX_PACKAGES); do \
	  $(VENV)/bin/pip install --quiet --no-deps --upgrade --target "$(WHET_ONNX_FILES)/$${package%%==*}" $$package || exit 1; \
	done

clean:
	rm -rf $(VENV) build dist site *.egg-info
