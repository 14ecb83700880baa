#!/usr/bin/env bash
# Install rndfast on a machine without a network, where PyTorch, CMake and a compiler are: into SITE, for PYTHONPATH.
# usage: install_offline.sh WHEELS SITE    WHEELS: a folder of wheels; benchmarks/README.md says of what
set -euo pipefail
wheels=$1 site=$2 project=$(cd "$(dirname "$0")/.." && pwd)
offline=(python3 -m pip install -q --no-index --no-deps --no-cache-dir --no-warn-script-location --target "$site")
"${offline[@]}" --upgrade "$wheels"/*.whl
export PYTHONPATH=$site CMAKE_BUILD_PARALLEL_LEVEL=$(nproc)
"${offline[@]}" --no-build-isolation "$project"
python3 -c 'import rndfast, torch; print("rndfast", rndfast.__version__, "torch", torch.__version__, torch.cuda.is_available())'
