#!/bin/sh
# Writes the pinned requirements anew, with the newest releases that fit: make requirements.
# Without torch and what only its CUDA builds ask for: which build is right depends on the machine, pip chooses it.
set -eu
cd "$(dirname "$0")/.."
tools=.cache/pinning
[ -x $tools/bin/uv ] || { "${PYTHON:-python3.11}" -m venv $tools && $tools/bin/pip install --quiet uv; }
left=$(printf ' --no-emit-package %s' pip torch triton cuda-bindings cuda-pathfinder cuda-toolkit \
	nvidia-cublas nvidia-cuda-cccl nvidia-cuda-cupti nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 \
	nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 \
	nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx)
pin() {
	target=tests/$1
	shift
	# shellcheck disable=SC2086
	$tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --no-emit-find-links --upgrade $left "$@" pyproject.toml --output-file "$target"
}
# The smaller ones take the releases of the largest, so that one environment can have first these and then all.
pin requirements-all.txt --extra all --extra dev-all
pin requirements.txt --extra fast --extra web --extra mcp --extra translate --extra render --extra dev --constraint tests/requirements-all.txt
pin requirements-fast.txt --extra fast --extra web --extra test --constraint tests/requirements-all.txt
# Beside what is installed for the tests: the site describes the modules it can import.
pin requirements-docs.txt --extra docs --constraint tests/requirements-all.txt
