# Every target is one line of `alphaf` or of a developer's tool. Variables become options:
#   make sft MODEL=eeve RUN=ft1 DATA="a.jsonl b.jsonl" SET="lora_r=64 max_steps=100" DRY_RUN=1
.DEFAULT_GOAL := help
VENV ?= .venv
PY = $(VENV)/bin/python
ALPHAF = $(VENV)/bin/alphaf
# SKIP_SETUP=1 uses VENV as it is, for an environment that somebody else keeps.
SETUP := $(if $(SKIP_SETUP),,setup)

# One shell word, whatever is in it.
quoted = '$(subst ','\'',$(1))'
MODEL_OPT = $(if $(MODEL),--model $(call quoted,$(MODEL)))
RUN_OPT = $(if $(RUN),--run $(call quoted,$(RUN)))
CONFIG_OPT = $(if $(CONFIG),--config $(call quoted,$(CONFIG)))
DATA_OPT = $(foreach path,$(DATA),--data $(call quoted,$(path)))
SET_OPT = $(foreach pair,$(SET),--set $(call quoted,$(pair)))
GPUS_OPT = $(if $(GPUS),--gpus $(call quoted,$(GPUS)))
SUITE_OPT = $(if $(SUITE),--suite $(call quoted,$(SUITE)))
STAGES_OPT = $(if $(STAGES),--stages $(call quoted,$(STAGES)))
LIMIT_OPT = $(if $(LIMIT),--limit $(call quoted,$(LIMIT)))
JUDGE_OPT = $(if $(A),--a $(call quoted,$(A))) $(if $(B),--b $(call quoted,$(B))) $(if $(JUDGE),--judge $(call quoted,$(JUDGE)))
MODELS_OPT = $(if $(MODELS),--models $(call quoted,$(MODELS)))
WHAT_OPT = $(foreach word,$(WHAT),$(call quoted,$(word)))
PARTNER_OPT = $(foreach name,$(PARTNER),--partner $(call quoted,$(name))) $(if $(METHOD),--method $(call quoted,$(METHOD)))
DRY_RUN_OPT = $(if $(filter-out 0 no false,$(DRY_RUN)),--dry-run)
OPTIONS = $(MODEL_OPT) $(RUN_OPT) $(CONFIG_OPT) $(DATA_OPT) $(SET_OPT) $(GPUS_OPT) $(DRY_RUN_OPT) $(ARGS)
# Make hands its command line to every child; a tool must not find a MODEL or DATA in its environment by accident.
unexport MODEL RUN CONFIG DATA SET GPUS DRY_RUN ARGS SUITE STAGES LIMIT A B JUDGE MODELS WHAT PARTNER METHOD DIR HAVE

.PHONY: help doctor setup setup-vllm setup-deepspeed lock browser sft dpo run merge-models ablate bakeoff eval judge report compare demo smoke chat test test-fast lint types fmt golden models plan estimate samples gpu-check gpu-wheels bench clean-runs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'variables: MODEL RUN CONFIG DATA="a b" SET="key=value key=value" GPUS DRY_RUN=1 ARGS="..."'
	@echo '           SUITE STAGES="base,sft,dpo" LIMIT (eval); A B JUDGE=URL (judge); A B (compare)'
	@echo '           PARTNER METHOD (merge-models); WHAT="neftune" (ablate); MODELS="a,b,c" (bakeoff)'
	@echo '           ACCEL=cpu|gpu PYTHON VENV SKIP_SETUP=1'

setup: ## make .venv from the lock for this machine (CPU or GPU); nothing to do costs nothing
	@VENV=$(call quoted,$(VENV)) ACCEL=$(call quoted,$(ACCEL)) PYTHON=$(call quoted,$(PYTHON)) sh requirements/setup.sh

setup-vllm: $(SETUP) ## make .venv-vllm, vLLM's own environment (Linux with an NVIDIA GPU), from its lock
	@VENV=.venv-vllm ACCEL=vllm PYTHON=$(call quoted,$(PYTHON)) sh requirements/setup.sh

setup-deepspeed: $(SETUP) ## make .venv-deepspeed, DeepSpeed as locked for a GPU: a test reads the engines' JSON with it
	@[ -d .venv-deepspeed/deepspeed-"$$(sed -n 's/^deepspeed==\([0-9.]*\).*/\1/p' requirements/gpu.lock)".dist-info ] || \
	    grep -E '^(deepspeed|hjson|msgpack|ninja|py-cpuinfo)==' requirements/gpu.lock | DS_BUILD_OPS=0 \
	    DS_IGNORE_CUDA_DETECTION=1 $(VENV)/bin/python -m pip install -q --no-deps --no-build-isolation --upgrade \
	    --target .venv-deepspeed -r /dev/stdin

lock: ## remake requirements/*.lock from pyproject.toml (ARGS=--upgrade for newer versions)
	PYTHON=$(call quoted,$(PYTHON)) sh requirements/lock.sh $(ARGS)

browser: ## install the Chromium that tests of the report open it with, where there is none (Debian, as root)
	sh tools/browser.sh

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
	$(ALPHAF) report $(if $(RUN),$(call quoted,$(RUN))) $(ARGS)

compare: $(SETUP) ## write the runs A and B side by side
	$(ALPHAF) compare $(call quoted,$(A)) $(call quoted,$(B)) $(ARGS)

# Asked is what the demo teaches: 135M parameters guess the other tasks of the suite, before and after. One row at a time,
# so that none waits for a longer answer. Eight rows of three models are about 4 minutes on 2 cores; their figures are rough.
demo: $(SETUP) ## the whole chain with scores and a report on a real 135M model that fits a laptop, into runs/demo
	$(ALPHAF) run --model smollm2 --run demo --warm $(SET_OPT) $(DRY_RUN_OPT) $(ARGS)
	$(if $(DRY_RUN_OPT),@:,$(ALPHAF) eval --run demo --task finance_ko_rag --limit $(or $(LIMIT),8) --batch-size 1)
	$(if $(DRY_RUN_OPT),@:,$(ALPHAF) report demo)
	@echo 'next: make chat RUN=demo'

# The threads of a toy model spend their time waiting for each other.
smoke: export OMP_NUM_THREADS = 1
smoke: $(SETUP) ## the whole chain on a toy model with the real tools, into runs/smoke; cached the second time
	$(ALPHAF) run --model tiny --run smoke --warm $(SET_OPT) $(DRY_RUN_OPT) $(ARGS)

chat: $(SETUP) ## talk to the newest finished model of RUN
	$(ALPHAF) chat $(if $(RUN),$(call quoted,$(RUN))) $(ARGS)

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

# Where DeepSpeed cannot be fetched its one test says so and is skipped.
test: $(SETUP) ## every test, the ones with real tools included (minutes)
	-@$(MAKE) --no-print-directory SKIP_SETUP=1 setup-deepspeed
	$(PY) -m pytest $(SPREAD) $(ARGS)

test-fast: $(SETUP) ## the tests that start no real tool (two minutes)
	$(PY) -m pytest -m "not real" $(SPREAD) $(ARGS)

lint: $(SETUP) ## check style, formatting and the one-way order of imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: $(SETUP) ## check types
	$(PY) -m mypy

fmt: $(SETUP) ## mend style and formatting in place, remake the index of modules
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) tools/module_index.py

golden: $(SETUP) ## rewrite the recorded outputs that tests compare with
	ALPHAF_WRITE_GOLDEN=1 $(PY) -m pytest -m "not real" $(ARGS)

gpu-check: $(SETUP) ## check the GPU path on the card that is there, in 20 minutes, and write docs/gpu-verification.md
	$(PY) tools/gpu_check $(ARGS)

gpu-wheels: $(SETUP) ## collect in DIR, in parts, the wheels that the check needs on a machine without a network (HAVE=FILE)
	PYTHONPATH=tools $(PY) -m gpu_check.collect $(if $(DIR),--dir $(call quoted,$(DIR))) $(if $(HAVE),--have $(call quoted,$(HAVE))) $(ARGS)

bench: $(SETUP) ## measure what is typed often and what the tools' imports cost (docs/performance.md)
	$(PY) bench/typed.py $(ARGS)
	$(PY) bench/smoke.py $(ARGS)

clean-runs: $(SETUP) ## show what finished runs need no more, and what the caches hold; ARGS=--yes deletes the former
	$(ALPHAF) clean $(if $(RUN),$(call quoted,$(RUN))) $(ARGS)

clean: ## remove caches and build output; runs/ and the environment stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache unsloth_compiled_cache last_run_prepared
	find alphaf_orch bench tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
