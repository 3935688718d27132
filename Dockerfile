# The image that `strongroom launch` renders jobs for: controller, brokers, enclave and releaser.
# It has not been built yet: no container engine was at hand. What it installs is what the tests ran
# with (constraints.txt). Pin PYTHON by digest in your own registry. TORCH_INDEX is PyTorch's index of
# CPU builds, or a mirror of it: the usual build brings CUDA, which nothing here uses.
#
#   docker build --build-arg TORCH_INDEX=URL -t REGISTRY/strongroom:0.1.0 .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
#     --ulimit memlock=-1 REGISTRY/strongroom:0.1.0 strongroom probe
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON}
# The policy's interpreter (regopy) links to it, and the slim image lacks it.
RUN apt-get update && apt-get install --yes --no-install-recommends libatomic1 \
    && rm -rf /var/lib/apt/lists/*
ARG TORCH_INDEX
COPY constraints.txt /constraints.txt
# torch alone from that index; what it needs comes with everything else, below.
RUN test -n "${TORCH_INDEX}" && pip install --no-cache-dir --no-deps \
        --index-url "${TORCH_INDEX}" --constraint /constraints.txt torch
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --constraint /constraints.txt /wheels/*.whl && rm -r /wheels
# Leaves the libraries' byte code where every enclave finds it.
RUN strongroom releaser measure

# Volumes made at these places begin with the owner that the folders have here.
RUN useradd --uid 65532 --user-group --home-dir /state --no-create-home strongroom \
    && install -d -o strongroom -g strongroom -m 700 /state /releaser
ENV HOME=/state STRONGROOM_STATE=/state PYTHONDONTWRITEBYTECODE=1
VOLUME ["/state", "/releaser"]
USER 65532:65532
WORKDIR /state
CMD ["strongroom", "--help"]
