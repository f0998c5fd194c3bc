# Every target is one line of `alphaf` or of a developer's tool. Variables become options:
#   make sft MODEL=eeve RUN=ft1 DATA="a.jsonl b.jsonl" SET="lora_r=64 max_steps=100" DRY_RUN=1
.DEFAULT_GOAL := help
VENV ?= .venv
PY = $(VENV)/bin/python
ALPHAF = $(VENV)/bin/alphaf
# SKIP_SETUP=1 uses VENV as it is, for an environment that somebody else keeps.
SETUP := $(if $(value SKIP_SETUP),,setup)

# One shell word, whatever is in it.
quoted = '$(subst ','\'',$(1))'
# The text of a variable as it was given: make itself would run a $(shell ...) in it, and a line break would end the
# recipe's line in the middle of a word.
define line_break


endef
said = $(if $(findstring $(line_break),$(value $(1))),$(error $(1) holds a line break),$(value $(1)))
one_word = $(call quoted,$(call said,$(1)))
option = $(if $(value $(2)),$(1) $(call one_word,$(2)))
each_word = $(foreach each,$(call said,$(2)),$(1) $(call quoted,$(each)))
MODEL_OPT = $(call option,--model,MODEL)
RUN_OPT = $(call option,--run,RUN)
CONFIG_OPT = $(call option,--config,CONFIG)
DATA_OPT = $(call each_word,--data,DATA)
SET_OPT = $(call each_word,--set,SET)
GPUS_OPT = $(call option,--gpus,GPUS)
SUITE_OPT = $(call option,--suite,SUITE)
STAGES_OPT = $(call option,--stages,STAGES)
LIMIT_OPT = $(call option,--limit,LIMIT)
JUDGE_OPT = $(call option,--a,A) $(call option,--b,B) $(call option,--judge,JUDGE)
MODELS_OPT = $(call option,--models,MODELS)
WHAT_OPT = $(call each_word,,WHAT)
PARTNER_OPT = $(call each_word,--partner,PARTNER) $(call option,--method,METHOD)
DRY_RUN_OPT = $(if $(filter-out 0 no false,$(value DRY_RUN)),--dry-run)
OPTIONS = $(MODEL_OPT) $(RUN_OPT) $(CONFIG_OPT) $(DATA_OPT) $(SET_OPT) $(GPUS_OPT) $(DRY_RUN_OPT) $(ARGS)
# What alphaf says to do next is said as a target of make's where there is one; with its folder where -C named it.
export ALPHAF_MAKE = $(if $(filter $(value PWD),$(CURDIR)),1,$(CURDIR))
# Make hands its command line to every child; a tool must not find a MODEL or DATA in its environment by accident.
unexport MODEL RUN CONFIG DATA SET GPUS DRY_RUN ARGS SUITE STAGES LIMIT A B JUDGE MODELS WHAT PARTNER METHOD DIR HAVE KILLS SEED COUNT

.PHONY: help doctor setup setup-vllm setup-deepspeed setup-audit setup-skypilot setup-docs docs commands audit bom offline-check lock browser slurm sft dpo run merge-models ablate bakeoff eval judge report compare demo smoke chat test test-fast test-slurm fuzz lint types fmt golden messages models plan estimate samples gpu-check gpu-wheels bundle test-airgap bench soak clean-runs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'variables: MODEL RUN CONFIG DATA="a b" SET="key=value key=value" GPUS DRY_RUN=1 ARGS="..."'
	@echo '           SUITE STAGES="base,sft,dpo" LIMIT (eval); A B JUDGE=URL (judge); A B (compare)'
	@echo '           PARTNER METHOD (merge-models); WHAT="neftune" (ablate); MODELS="a,b,c" (bakeoff)'
	@echo '           ACCEL=cpu|gpu PYTHON VENV SKIP_SETUP=1'

setup: ## make .venv from the lock for this machine (CPU or GPU); nothing to do costs nothing
	@VENV=$(call one_word,VENV) ACCEL=$(call one_word,ACCEL) PYTHON=$(call one_word,PYTHON) sh requirements/setup.sh

setup-vllm: $(SETUP) ## make .venv-vllm, vLLM's own environment (Linux with an NVIDIA GPU), from its lock
	@VENV=.venv-vllm ACCEL=vllm PYTHON=$(call one_word,PYTHON) sh requirements/setup.sh

setup-deepspeed: $(SETUP) ## make .venv-deepspeed, DeepSpeed as locked for a GPU: a test reads the engines' JSON with it
	@[ -d .venv-deepspeed/deepspeed-"$$(sed -n 's/^deepspeed==\([0-9.]*\).*/\1/p' requirements/gpu.lock)".dist-info ] || \
	    grep -E '^(deepspeed|hjson|msgpack|ninja|py-cpuinfo)==' requirements/gpu.lock | DS_BUILD_OPS=0 \
	    DS_IGNORE_CUDA_DETECTION=1 $(VENV)/bin/python -m pip install -q --no-deps --no-build-isolation --upgrade \
	    --target .venv-deepspeed -r /dev/stdin

# Beside what trains, so that nothing of it changes; the stamp is the lock that it was made from.
AUDIT = .venv-audit
setup-audit: $(SETUP) ## make .venv-audit, which `make audit` and `make bom` look at the others with, from its lock
	@cmp -s requirements/audit.lock $(AUDIT)/audit.lock || { rm -rf $(AUDIT) && $(PY) -m venv $(AUDIT) && \
	    $(AUDIT)/bin/python -m pip install -q --no-deps --disable-pip-version-check -r requirements/audit.lock && \
	    cp requirements/audit.lock $(AUDIT)/audit.lock; }

SKYPILOT = .venv-skypilot
setup-skypilot: $(SETUP) ## make .venv-skypilot, from its lock: SkyPilot and Kubeflow's models, by which tests read what is rendered for them
	@cmp -s requirements/skypilot.lock $(SKYPILOT)/skypilot.lock || { rm -rf $(SKYPILOT) && $(PY) -m venv $(SKYPILOT) && \
	    $(SKYPILOT)/bin/python -m pip install -q --no-deps --disable-pip-version-check -r requirements/skypilot.lock && \
	    cp requirements/skypilot.lock $(SKYPILOT)/skypilot.lock; }

DOCS = .venv-docs
setup-docs: $(SETUP) ## make .venv-docs, from its lock: what builds the pages as a site and reads the container's recipe
	@cmp -s requirements/docs.lock $(DOCS)/docs.lock || { rm -rf $(DOCS) && $(PY) -m venv $(DOCS) && \
	    $(DOCS)/bin/python -m pip install -q --no-deps --disable-pip-version-check -r requirements/docs.lock && \
	    cp requirements/docs.lock $(DOCS)/docs.lock; }

docs: $(SETUP) setup-docs ## build the pages as a site in both languages into site/, offline, every link and anchor checked
	PYTHONPATH=tools $(DOCS)/bin/python -m docs_site $(ARGS)

commands: $(SETUP) ## write docs/commands from the commands' own --help (ARGS=--check only compares)
	$(PY) tools/command_pages.py $(ARGS)

audit: $(SETUP) setup-audit ## bills of materials of the locks and of .venv (CycloneDX), all licences checked, advisories looked up
	PYTHONPATH=tools $(AUDIT)/bin/python -m audit --python $(PY) $(ARGS)

bom: $(SETUP) setup-audit ## write the bill of materials of RUN's model (CycloneDX, model.cdx.json in the run)
	PYTHONPATH=tools:. $(AUDIT)/bin/python -m audit.ml_bom $(RUN_OPT) $(ARGS)

offline-check: $(SETUP) ## run chain, eval, judge, report and what only reads with no network, seeing every connect(); compare the times
	PYTHONPATH=tools:tests/fakes $(PY) -m offline_check $(ARGS)

lock: ## remake requirements/*.lock from pyproject.toml (ARGS=--upgrade for newer versions)
	PYTHON=$(call one_word,PYTHON) sh requirements/lock.sh $(ARGS)

browser: ## install the Chromium that tests of the report open it with, where there is none (Debian, as root)
	sh tools/browser.sh

slurm: ## install Slurm and munge for the tests that submit to a real one, where there is none (Debian, as root)
	sh tools/slurm.sh

doctor: $(SETUP) ## look at this machine before a run: drivers, kernels, compiler, disk, limits (MODEL)
	$(ALPHAF) doctor $(MODEL_OPT) $(RUN_OPT) $(CONFIG_OPT) $(GPUS_OPT) $(ARGS)

sft: $(SETUP) ## supervised fine-tuning of MODEL on DATA, then merge the adapter
	$(ALPHAF) sft $(OPTIONS)

dpo: $(SETUP) ## preference training on the merged model of RUN, then merge again
	$(ALPHAF) dpo $(OPTIONS)

run: $(SETUP) ## the whole chain for MODEL: data, SFT, merge, DPO, merge
	$(ALPHAF) run $(OPTIONS)

merge-models: $(SETUP) ## merge the finished model of RUN with PARTNER by mergekit (METHOD)
	$(ALPHAF) merge-models $(RUN_OPT) $(PARTNER_OPT) $(DRY_RUN_OPT) $(ARGS)

ablate: $(SETUP) ## a fair experiment on MODEL: WHAT=neftune, WHAT=adapter, WHAT="KEY=V1,V2"
	$(ALPHAF) ablate $(WHAT_OPT) $(OPTIONS) $(SUITE_OPT) $(LIMIT_OPT)

bakeoff: $(SETUP) ## choose a base model among MODELS="a,b,c" by the article's criteria
	$(ALPHAF) bakeoff $(MODELS_OPT) $(DATA_OPT) $(SET_OPT) $(GPUS_OPT) $(SUITE_OPT) $(LIMIT_OPT) $(DRY_RUN_OPT) $(ARGS)

eval: $(SETUP) ## score the models of RUN: base, sft, dpo (SUITE, STAGES, LIMIT)
	$(ALPHAF) eval $(RUN_OPT) $(SUITE_OPT) $(STAGES_OPT) $(LIMIT_OPT) $(DRY_RUN_OPT) $(ARGS)

judge: $(SETUP) ## let the model at JUDGE=URL say which of RUN's models A and B answers better
	$(ALPHAF) judge $(RUN_OPT) $(JUDGE_OPT) $(LIMIT_OPT) $(ARGS)

report: $(SETUP) ## write what RUN was worth, as one HTML page and as Markdown
	$(ALPHAF) report $(call option,,RUN) $(ARGS)

compare: $(SETUP) ## write the runs A and B side by side
	$(ALPHAF) compare $(call one_word,A) $(call one_word,B) $(ARGS)

# Asked is what the demo teaches: 135M parameters guess the other tasks of the suite, before and after. One row at a time,
# so that none waits for a longer answer. Eight rows of three models are about 4 minutes on 2 cores; their figures are rough.
demo: $(SETUP) ## the whole chain with scores and a report on a real 135M model that fits a laptop, into runs/demo
	$(ALPHAF) run --model smollm2 --run demo --warm $(SET_OPT) $(DRY_RUN_OPT) $(ARGS)
	$(if $(DRY_RUN_OPT),@:,$(ALPHAF) eval --run demo --task finance_ko_rag --limit $(if $(value LIMIT),$(call one_word,LIMIT),8) --batch-size 1)
	$(if $(DRY_RUN_OPT),@:,$(ALPHAF) report demo)
	@echo 'next: make chat RUN=demo'

# The threads of a toy model spend their time waiting for each other.
smoke: export OMP_NUM_THREADS = 1
smoke: $(SETUP) ## the whole chain on a toy model with the real tools, into runs/smoke; cached the second time
	$(ALPHAF) run --model tiny --run smoke --warm $(SET_OPT) $(DRY_RUN_OPT) $(ARGS)

chat: $(SETUP) ## talk to the newest finished model of RUN
	$(ALPHAF) chat $(call option,,RUN) $(ARGS)

plan: $(SETUP) ## show what `make run` would do and why; launches nothing
	$(ALPHAF) plan $(MODEL_OPT) $(RUN_OPT) $(CONFIG_OPT) $(DATA_OPT) $(SET_OPT) $(GPUS_OPT) $(ARGS)

estimate: $(SETUP) ## say what `make run` would need and take: memory, time, disk, GPU-hours (ARGS="--rate 2.5")
	$(ALPHAF) estimate $(MODEL_OPT) $(RUN_OPT) $(CONFIG_OPT) $(DATA_OPT) $(SET_OPT) $(GPUS_OPT) $(ARGS)

models: $(SETUP) ## list the base models that MODEL may name
	$(ALPHAF) models $(ARGS)

samples: $(SETUP) ## remake the Korean sample data
	PYTHONPATH=tools $(PY) -m sample_data.generate $(ARGS)
	PYTHONPATH=tools $(PY) -m sample_data.benchmark $(ARGS)

# Two workers take groups of tests that share what is made once, the longest first.
SPREAD = -n 2 --dist loadscope --no-loadscope-reorder

# Where DeepSpeed, the auditing tools, SkyPilot or what builds the pages cannot be fetched their few tests say so and are skipped.
test: $(SETUP) ## every test, the ones with real tools included (minutes)
	-@$(MAKE) --no-print-directory SKIP_SETUP=1 setup-deepspeed setup-audit setup-skypilot setup-docs
	$(PY) -m pytest $(SPREAD) $(ARGS)

test-fast: $(SETUP) ## the tests that start no real tool (minutes)
	$(PY) -m pytest -m "not real" $(SPREAD) $(ARGS)

test-slurm: $(SETUP) ## chains and experiments through a real Slurm of two machines on this one (root; `make slurm`)
	$(PY) -m pytest $(SPREAD) tests/slurm $(ARGS)

# 21 parsers, so many inputs for each of them; another SEED is other inputs.
fuzz: $(SETUP) ## give the parsers of what others write 126,000 generated inputs (COUNT for each of 21, SEED)
	ALPHAF_FUZZ=$(if $(value COUNT),$(call one_word,COUNT),6000) $(PY) -m pytest $(SPREAD) tests/inputs/test_fuzz.py \
	    --hypothesis-seed=$(if $(value SEED),$(call one_word,SEED),0) $(ARGS)

lint: $(SETUP) ## check style, formatting and the one-way order of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: $(SETUP) ## check types
	$(PY) -m mypy

fmt: $(SETUP) ## mend style and formatting in place, remake the index of modules and what shells complete
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) tools/module_index.py
	$(PY) tools/completion_words.py

messages: $(SETUP) ## bring the catalogues of Korean texts and docs/error-codes.md up to date with the messages of the sources
	$(PY) tools/messages.py $(ARGS)
	$(PY) tools/error_codes.py $(ARGS)

golden: $(SETUP) ## rewrite the recorded outputs that tests compare with
	ALPHAF_WRITE_GOLDEN=1 $(PY) -m pytest -m "not real" $(ARGS)

gpu-check: $(SETUP) ## check the GPU path on the card that is there, in 20 minutes, and write docs/gpu-verification.md
	$(PY) tools/gpu_check $(ARGS)

gpu-wheels: $(SETUP) ## collect in DIR, in parts, the wheels that the check needs on a machine without a network (HAVE=FILE)
	PYTHONPATH=tools $(PY) -m gpu_check.collect $(call option,--dir,DIR) $(call option,--have,HAVE) $(ARGS)

bundle: $(SETUP) ## collect in DIR what a machine without a network needs (MODEL DATA SUITE ARGS="--accel gpu --split 4G")
	$(ALPHAF) bundle $(MODEL_OPT) $(DATA_OPT) $(SUITE_OPT) --out $(if $(value DIR),$(call one_word,DIR),bundle) $(DRY_RUN_OPT) $(ARGS)

test-airgap: $(SETUP) ## bundle, install without a network, run the smoke chain and its report there (10 minutes, the index)
	PYTHON=$(call quoted,$(abspath $(PY))) sh tools/airgap.sh $(ARGS)

bench: $(SETUP) ## measure what is typed often and what the tools' imports cost (docs/performance.md)
	$(PY) bench/typed.py $(ARGS)
	$(PY) bench/smoke.py $(ARGS)

clean-runs: $(SETUP) ## show what finished runs need no more, and what the caches hold; ARGS=--yes deletes the former
	$(ALPHAF) clean $(call option,,RUN) $(ARGS)

KILLS ?= 100
SEED ?= 0
soak: $(SETUP) ## end tiny chains at KILLS random moments (SEED): each must go on to the same end, nothing may live on
	$(PY) tools/soak --kills $(call one_word,KILLS) --seed $(call one_word,SEED) $(ARGS)

clean: ## remove caches and build output; runs/ and the environment stay
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache unsloth_compiled_cache last_run_prepared
	find alphaf_orch bench tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
