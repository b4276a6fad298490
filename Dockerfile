# syntax=docker/dockerfile:1
# An image with the command `sod` for the CPU:
#   docker build --tag sod .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" sod predict photos --out masks
# or for NVIDIA's GPUs (docker run --gpus all; for runs on Ray also --shm-size 8g):
#   docker build --tag sod:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# The wheels of torch bring CUDA's libraries, so both fit the same base; BASE may be any image with pip and Python 3.11
# or later. hadolint 2.15.1 finds nothing, and a test reads this file, but where it was written there is no Docker: it
# has not been built there.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS wheel
# hadolint ignore=DL3002
USER 0
WORKDIR /src
COPY requirements.lock ./
RUN pip install --no-cache-dir --constraint requirements.lock setuptools
COPY LICENSE README.md pyproject.toml ./
COPY jobs jobs
COPY model model
COPY pipeline pipeline
ARG SOURCE_DATE_EPOCH=315532800
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM ${BASE}
USER 0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=calibration,formats,loaders,s3,witness
ENV PYTHONUNBUFFERED=1
WORKDIR /tmp/install
COPY requirements.lock ./
COPY --from=wheel /wheels ./
# The lock constrains versions; what is installed follows from the wheel, so that no test framework comes along.
RUN pip install --no-cache-dir --no-deps --constraint requirements.lock --index-url "${TORCH_INDEX}" torch torchvision \
    && pip install --no-cache-dir --constraint requirements.lock "$(ls ./*.whl)[${EXTRAS}]" \
    && rm -rf /tmp/install
# ssh-keygen signs releases, and checks signatures; KubeRay may ask a pod for its health with wget.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends openssh-client wget && rm -rf /var/lib/apt/lists/*
# A home that any user may write to: caches of weights and fonts, for `docker run --user`.
# Some bases (rayproject/ray) have a user 1000 of their own, who will do.
RUN (getent passwd 1000 || useradd --uid 1000 sod) && mkdir --parents /home/sod && chmod 1777 /home/sod
ENV HOME=/home/sod
USER 1000
WORKDIR /data
ENTRYPOINT ["sod"]
CMD ["--help"]
