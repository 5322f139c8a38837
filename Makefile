# `make book` and `make test` work as the first command on a fresh machine. What readers need is in
# do.py, which works without make too.
PYTHON ?= python3
BIN := .venv/bin
DO := $(PYTHON) do.py
INSTALLED := .venv/.installed
TESTING := .venv/.testing
CLUSTER := .venv/.cluster
GRADING := .venv/.grading
BASELINES := .venv/.baselines
# A folder or a zip, for whatever reads data: the list of `make help` says which commands do.
DATA ?= $(SEQUENCE_DATA)

export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Small matrices: a second thread of BLAS costs more than it brings. TensorFlow has its own.
export OPENBLAS_NUM_THREADS := 1
export PYDEVD_DISABLE_FILE_VALIDATION := 1
# Text is UTF-8, in other people's packages too.
export PYTHONUTF8 := 1
with_data = $(if $(DATA),SEQUENCE_DATA="$(abspath $(patsubst ~/%,$(HOME)/%,$(DATA)))")

.PHONY: help book pdf test chapters others lab notebooks run results memory writing symbols scans baselines sample course-data bench clean \
	assignment groups collect grade feedback export similar slides quizzes
.DELETE_ON_ERROR:

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

book:  ## build the site from the stored outputs, into _build/html, and a zip of it
	@$(DO) book

pdf:  ## print the whole book into one PDF, in _build; needs Chromium [PAGES=some of _toc.yml, into a file of their own]
	@$(DO) pdf $(if $(PAGES),PAGES="$(PAGES)")

test:  ## check code, site and grading, on the sample that ships [ALL=1: everything, as CI does]
	@$(DO) test $(if $(ALL),ALL="$(ALL)")

chapters:  ## run every chapter, with its solutions, on the sample that ships
	@$(DO) chapters $(if $(NOTEBOOKS),NOTEBOOKS="$(NOTEBOOKS)")

others:  ## run every chapter on data that it was not written for: other names, lengths, numbers of classes
	@$(DO) others $(if $(NOTEBOOKS),NOTEBOOKS="$(NOTEBOOKS)")

lab:  ## open copies of the chapters in JupyterLab [DATA=folder or zip LAB=words for it]
	@$(DO) lab $(if $(DATA),DATA="$(DATA)") $(LAB)

notebooks:  ## write plain copies of the chapters into work/plain, for VS Code and others
	@$(DO) notebooks

run:  ## execute the notebooks whose outputs are stale [ALL=1 NOTEBOOKS=… DATA=folder or zip]
	@$(DO) run $(if $(ALL),ALL="$(ALL)") $(if $(NOTEBOOKS),NOTEBOOKS="$(NOTEBOOKS)") \
		$(if $(DATA),DATA="$(DATA)")

results: $(if $(filter dask,$(BACKEND)),$(CLUSTER),$(INSTALLED))  ## record the runs that are missing in data/results [DATA=… OUT=… BACKEND=dask SCHEDULER=…]
	$(BIN)/python -m experiments.results data $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT)) \
		$(if $(BACKEND),--backend $(BACKEND)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

memory: $(INSTALLED)  ## record the memory runs that are missing in data/results [OUT=folder]
	$(BIN)/python -m experiments.results memory $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT))

scans: $(INSTALLED)  ## record the runs of linear recurrences on tasks, and what a layer costs [OUT=folder]
	$(BIN)/python -m experiments.results scans $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT))

symbols: $(INSTALLED)  ## record the runs on utterances that are missing in data/results [DATA=… OUT=folder]
	$(BIN)/python -m experiments.results symbols $(if $(DATA),--data "$(DATA)") \
		$(if $(OUT),--out "$(OUT)") $(if $(PROCESSES),--processes $(PROCESSES)) \
		$(if $(LIMIT),--limit $(LIMIT))

writing: $(INSTALLED)  ## record the missing runs of networks that write [DATA=… OUT=folder]
	$(BIN)/python -m experiments.results writing $(if $(DATA),--data "$(DATA)") $(if $(OUT),--out "$(OUT)") \
		$(if $(PROCESSES),--processes $(PROCESSES)) $(if $(LIMIT),--limit $(LIMIT))

baselines: $(BASELINES)  ## record what models without recurrence score in data/results [DATA=… OUT=folder]
	$(BIN)/python -m experiments.results baselines $(if $(DATA),--data "$(DATA)") \
		$(if $(OUT),--out "$(OUT)") $(if $(LIMIT),--limit $(LIMIT))

sample: $(INSTALLED)  ## make data/sample again, bit for bit
	$(BIN)/python data/make_sample.py

course-data:  ## fetch the report's own data into data/course, if you say yes
	@$(DO) course-data

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

quizzes: $(GRADING)  ## write the questions of all chapters for Moodle and Canvas, into _build/quizzes
	@$(BIN)/python -m assignment.week.quizzes

slides: $(GRADING)  ## make the slides of six lectures, into _build/slides
	@$(BIN)/python teaching/make_slides.py

clean:  ## remove what was built, not what was installed
	@$(DO) clean

$(INSTALLED) $(TESTING) $(CLUSTER) $(GRADING) $(BASELINES): requirements*.txt pyproject.toml
	@$(DO) install $(subst .venv/.,,$@)
