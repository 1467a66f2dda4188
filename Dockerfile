# A target an image: tools, worker, scorer, scorer-gpu, trainer, loadtest. See docs/deployment.md.
#
#   docker build --target worker --tag streamrec-worker .
#
# Needs BuildKit, the default since Docker 23. Python packages have the versions of constraints.txt; the cache of pip is
# a mount, so that no image holds it. Each target imports what it runs, so that a broken image is never tagged.

FROM python:3.12-slim-bookworm AS wheel
WORKDIR /src
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY schemas ./schemas
COPY recommender ./recommender
COPY streams ./streams
COPY services ./services
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .


FROM python:3.12-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    STREAMREC_MODEL_DIR=/var/lib/streamrec/models
# The home directory is the working directory: streamrec.toml may be mounted there. A new volume mounted at models
# takes its owner from here.
RUN groupadd --gid 10001 streamrec \
    && useradd --uid 10001 --gid streamrec --home-dir /var/lib/streamrec --no-create-home --shell /usr/sbin/nologin \
        streamrec \
    && install --directory --owner=streamrec --group=streamrec /var/lib/streamrec /var/lib/streamrec/models
WORKDIR /var/lib/streamrec
ENTRYPOINT ["streamrec"]


FROM base AS tools
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1" \
    && streamrec --version
USER 10001:10001
CMD ["--help"]


FROM base AS worker
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1[worker]" \
    && python -c "import streams.worker.app" \
    && python -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') and 'torch is in the worker image')"
COPY deploy/health.py /opt/streamrec/health.py
ENV STREAMREC_METRICS_HOST=0.0.0.0 STREAMREC_METRICS_PORT=9464
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "/opt/streamrec/health.py"]
CMD ["worker"]


# torch in a layer of its own, so that a change of the project does not install it again. The index, empty for the
# default one, is asked for torch alone: what torch needs comes from the default index.
FROM base AS torch
ARG TORCH_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-deps ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --constraint /constraints.txt torch \
    && pip install --constraint /constraints.txt torch


FROM torch AS scorer
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1[scorer]" \
    && python -c "import services.scorer.service, torch"
COPY deploy/health.py /opt/streamrec/health.py
ENV STREAMREC_METRICS_HOST=0.0.0.0 STREAMREC_METRICS_PORT=9464
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "/opt/streamrec/health.py"]
CMD ["scorer"]


FROM base AS scorer-gpu
ARG TORCH_GPU_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --no-deps ${TORCH_GPU_INDEX_URL:+--index-url "$TORCH_GPU_INDEX_URL"} --constraint /constraints.txt torch \
    && pip install --constraint /constraints.txt torch \
    && python -c "import sys, torch; sys.exit(None if torch.version.cuda else 'this torch is built without CUDA')"
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1[scorer]" \
    && python -c "import services.scorer.service"
COPY deploy/health.py /opt/streamrec/health.py
ENV STREAMREC_METRICS_HOST=0.0.0.0 STREAMREC_METRICS_PORT=9464
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=3 \
    CMD ["python", "/opt/streamrec/health.py"]
CMD ["scorer"]


FROM torch AS trainer
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1[trainer]" \
    && python -c "import services.trainer.embeddings, torch, matplotlib"
USER 10001:10001
CMD ["train", "autoencoder"]


FROM base AS loadtest
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    set -- /wheels/*.whl \
    && pip install --constraint /constraints.txt "$1[loadtest]" \
    && python -c "import services.cli.loadtest_run, matplotlib, plotly" \
    && install --directory --owner=streamrec /var/lib/streamrec/reports
USER 10001:10001
CMD ["loadtest", "--help"]
