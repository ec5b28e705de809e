# make lab        opens the course in JupyterLab (the first time it installs what that needs)
# make fresh CHAPTER=03   a fresh copy of a chapter; yours stays beside it
# make test       proves that everything works (18 minutes)
# make trust      tries what a long life may bring: 100,000 inputs, and more (an hour)
# make lowest     tries the library's tests with the lowest versions that pyproject.toml allows
# make chapters   runs the chapters again and stores what they show
# make site       writes the chapters as pages that need neither kernel nor network
# make screenshots   takes pictures of the views (needs Chromium)
# make storyteller   trains the model that ships with the course anew (10 minutes)

# Your python3 if it is new enough, else the newest that is: make lab PYTHON=python3.12 chooses.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)
VENV = .venv
VENV_PYTHON = $(VENV)/bin/python

.PHONY: lab fresh test trust lowest chapters site screenshots storyteller

# `installed` holds the folder that the installation was made in. Where this one was moved or copied
# since, or the Python behind it is gone, it is made again.
ifneq ($(shell cat $(VENV)/installed 2>/dev/null),$(shell test -s $(VENV)/installed && test -x $(VENV_PYTHON) && pwd -P))
.PHONY: $(VENV)/installed
endif

lab: $(VENV)/installed
	@$(VENV_PYTHON) tools/notebooks.py lab $(LAB_ARGS)

fresh: $(VENV)/installed
	@$(VENV_PYTHON) tools/notebooks.py fresh $(CHAPTER)

test: $(VENV)/installed-for-tests
	@$(VENV_PYTHON) tools/run_tests.py $(TEST_ARGS)

trust: $(VENV)/installed-for-tests
	@$(VENV_PYTHON) tools/trust.py

lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install --disable-pip-version-check --quiet uv
	.venv-lowest/bin/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct \
		-e '.[course]' 'pytest>=9' 'hypothesis>=6.155'
	.venv-lowest/bin/python -m pytest --color=no -q $(filter-out \
		$(addprefix tests/test_,project.py spelling.py gpt_file.py),$(wildcard tests/test_*.py))

chapters: $(VENV)/installed
	@$(VENV_PYTHON) tools/notebooks.py execute $(CHAPTERS)

site: $(VENV)/installed-for-tests
	@$(VENV_PYTHON) tools/notebooks.py site $(CHAPTERS)

screenshots: $(VENV)/installed-for-tests
	@$(VENV_PYTHON) tools/screenshots.py

storyteller: $(VENV)/installed
	@$(VENV_PYTHON) tools/storyteller.py

$(VENV)/installed: requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "The course needs Python 3.11 or newer, and there is none here: install one (python.org has it), then run this again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The course needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] + ": choose another with make lab PYTHON=...")'
	@$(VENV_PYTHON) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "Installing what requirements.txt lists; the first time this takes some minutes."
	$(VENV_PYTHON) -m pip install --disable-pip-version-check -r requirements.txt
	@pwd -P > $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(VENV_PYTHON) -m pip install --disable-pip-version-check --quiet -e '.[test]'
	@touch $@
