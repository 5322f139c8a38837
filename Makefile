# `make book` and `make test` work as the first command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TESTING := .venv/.testing
CLUSTER := .venv/.cluster
GRADING := .venv/.grading
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
SITE := _build/html/index.html
ZIP := _build/recurrent-sequence-learning.zip
# A folder or a zip with data, for `make lab`, `make run`, `make results` and `make bench`.
DATA ?= $(SEQUENCE_DATA)

export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Small matrices: a second thread of BLAS costs more than it brings. TensorFlow has its own.
export OPENBLAS_NUM_THREADS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
with_data = $(if $(DATA),SEQUENCE_DATA="$(abspath $(DATA))")

.PHONY: help book test lab run results memory symbols sample course-data bench clean \
	assignment groups collect grade feedback export similar slides
.DELETE_ON_ERROR:

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

book: $(SITE) $(ZIP)  ## build the site from the stored outputs, into _build/html, and a zip of it
	@echo "Open _build/html/index.html, or send $(ZIP) to someone"

test: $(TESTING) $(GRADING) $(SITE) $(ZIP)  ## check everything, on the sample that ships
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	SEQUENCE_DATA=data/sample $(BIN)/pytest -n 2 --dist loadfile tests
	PYTHONPATH=. $(BIN)/python tests/with_solutions.py _build/with_solutions $(NOTEBOOKS)
	SEQUENCE_DATA="$(abspath data/sample)" $(BIN)/pytest --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=600 -n 2 --dist loadfile _build/with_solutions

lab: $(INSTALLED)  ## open the notebooks in JupyterLab [DATA=folder or zip]
	$(with_data) $(BIN)/jupyter lab $(LAB) notebooks

run: $(INSTALLED)  ## execute the notebooks whose outputs are stale [ALL=1 NOTEBOOKS=… DATA=folder or zip]
	$(with_data) $(BIN)/python -m book.execute $(if $(ALL)$(filter command,$(origin NOTEBOOKS)),--all) \
		$(NOTEBOOKS)

results: $(if $(filter dask,$(BACKEND)),$(CLUSTER),$(INSTALLED))  ## record the runs that are missing in data/results [DATA=… OUT=… BACKEND=dask SCHEDULER=…]
	$(BIN)/python -m experiments.results data $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT)) \
		$(if $(BACKEND),--backend $(BACKEND)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

memory: $(INSTALLED)  ## record the memory runs that are missing in data/results [OUT=folder]
	$(BIN)/python -m experiments.results memory $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT))

symbols: $(INSTALLED)  ## record the runs on utterances that are missing in data/results [DATA=… OUT=folder]
	$(BIN)/python -m experiments.results symbols $(if $(DATA),--data "$(DATA)") \
		$(if $(OUT),--out "$(OUT)") $(if $(PROCESSES),--processes $(PROCESSES)) \
		$(if $(LIMIT),--limit $(LIMIT))

sample: $(INSTALLED)  ## make data/sample again, bit for bit
	$(BIN)/python data/make_sample.py

course-data: $(INSTALLED)  ## fetch the report's own data into data/course, if you say yes
	$(BIN)/python data/fetch_course.py

bench: $(INSTALLED)  ## time an epoch of every model, five ways side by side [DATA=folder or zip]
	$(BIN)/python -m experiments.bench $(if $(DATA),--data "$(DATA)") \
		$(if $(MODELS),--models $(MODELS)) $(if $(EPOCHS),--epochs $(EPOCHS))

# One of the folders in assignment/source. (WSL has a variable of this name in its environment.)
ifneq ($(origin NAME),command line)
NAME := sequence-learning
endif

assignment: $(GRADING)  ## make the zips that students get [NAME=… DATA=folder or zip]
	@$(with_data) $(BIN)/python -m assignment.grader.release \
		$(if $(filter command,$(origin NAME)),$(NAME))

groups: export PYTHONPATH := .
groups: $(GRADING)  ## deal classes to N groups [N=25 SIZE=classes each DATA=…]
	@$(with_data) $(BIN)/python assignment/source/sequence-learning/deal.py $(or $(N),25) \
		$(if $(SIZE),--size $(SIZE))

collect: $(GRADING)  ## put an export into assignment/submitted [FROM=zip, tar or folder NAME=…]
	@$(BIN)/python -m assignment.week.collect $(NAME) "$(FROM)"

grade: $(GRADING)  ## grade assignment/submitted [NAME=… STUDENT=… AGAIN=1 JOBS=2 SECONDS=300 MEMORY=4]
	@$(BIN)/python -m assignment.grader.grade $(NAME) $(if $(STUDENT),--student "$(STUDENT)") \
		$(if $(AGAIN),--again) $(if $(JOBS),--jobs $(JOBS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(MEMORY),--memory $(MEMORY)) \
		$(if $(BACKEND),--backend $(BACKEND)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

feedback: $(GRADING)  ## enter points given by hand, write a page for each student [NAME=…]
	@$(BIN)/python -m assignment.grader.grade $(NAME) --feedback

export: $(GRADING)  ## write points for a learning platform [TO=moodle, canvas or gradescope SHEET=… NAME=…]
	@$(BIN)/python -m assignment.week.export $(NAME) $(TO) $(if $(SHEET),--sheet "$(SHEET)")

similar: $(GRADING)  ## list pairs of submissions whose code is alike [NAME=…]
	@$(BIN)/python -m assignment.week.similar $(NAME)

slides: $(GRADING)  ## make the slides of six lectures, into _build/slides
	@$(BIN)/python teaching/make_slides.py

clean:  ## remove what was built, not what was installed
	rm -rf _build .pytest_cache .ruff_cache .hypothesis test-artefacts

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		f"found Python {v.major}.{v.minor}; expected 3.11 to 3.13: try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	@touch $@

$(TESTING): $(INSTALLED) requirements-test.txt requirements-cluster.txt
	$(BIN)/pip install --quiet -r requirements-test.txt
	@touch $@

$(CLUSTER): $(INSTALLED) requirements-cluster.txt
	$(BIN)/pip install --quiet -r requirements-cluster.txt
	@touch $@

# What grading needs beside what readers need.
$(GRADING): $(INSTALLED) requirements-grading.txt
	$(BIN)/pip install --quiet -r requirements-grading.txt
	@touch $@

# Built from stored outputs alone: nothing executed, and nothing to do when no page has changed.
$(SITE): $(INSTALLED) _config.yml _toc.yml $(NOTEBOOKS) \
		$(shell find book -type f -not -name '*.pyc')
	$(BIN)/jupyter-book build . -W -n --keep-going --quiet
	@touch $@

$(ZIP): $(SITE) book/make_zip.py
	$(BIN)/python book/make_zip.py $(dir $(SITE)) $@
