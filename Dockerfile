# What `make setup ACCEL=gpu` installs, for machines that run containers. It was never built where it was written:
# docs/container.md says so, how to build it, and how to check what comes of it.
#
# The whole Debian image of Python and not its slim one: make, and the C compiler that triton's kernels are built with
# while a training runs, are in it, so no other package source is asked. A digest is given at the build:
#   --build-arg BASE=python:3.11.14-bookworm@sha256:...
ARG BASE=python:3.11.14-bookworm
FROM ${BASE}

# Texts are UTF-8, whatever the host has. Nothing is reported to anybody, whoever starts a python in here; `alphaf` says
# the same to each tool (alphaf_orch/core/command.py).
ENV LANG=C.UTF-8 \
    LC_ALL=C.UTF-8 \
    PYTHONUTF8=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    HF_HUB_OFFLINE=1 \
    HF_DATASETS_OFFLINE=1 \
    TRANSFORMERS_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    DO_NOT_TRACK=1 \
    AXOLOTL_DO_NOT_TRACK=1 \
    UNSLOTH_DISABLE_STATISTICS=1 \
    WANDB_MODE=offline \
    COMET_MODE=offline \
    MLFLOW_DISABLE_TELEMETRY=true \
    GRADIO_ANALYTICS_ENABLED=False \
    RAY_USAGE_STATS_ENABLED=0 \
    DS_IGNORE_CUDA_DETECTION=1
# hadolint ignore=DL3064
ENV TOKENIZERS_PARALLELISM=false

WORKDIR /opt/alphaf-orch
COPY . .
# Where packages come from is pip's business: the secret is a pip.conf, in no layer. Nor is setup's log, which has hosts.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    make setup ACCEL=gpu \
    && rm .venv/setup.log

# Whoever runs it (`--user` too) writes into what is mounted here and nowhere else; weights, data and runs are no part
# of the image.
RUN useradd --create-home --uid 1000 alphaf \
    && install --directory --mode 1777 /srv/alphaf /srv/alphaf/runs /srv/alphaf/cache /srv/alphaf/hf /srv/alphaf/data
ENV PATH=/opt/alphaf-orch/.venv/bin:${PATH} \
    HOME=/srv/alphaf/cache \
    ALPHAF_RUNS=/srv/alphaf/runs \
    ALPHAF_CACHE=/srv/alphaf/cache \
    HF_HOME=/srv/alphaf/hf
USER 1000
WORKDIR /srv/alphaf
ENTRYPOINT ["alphaf"]
CMD ["--help"]
