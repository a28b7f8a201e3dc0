#!/usr/bin/env bash
# On a machine with one GPU, 15 minutes and no network: what is worth most comes first, each part is written as it ends,
# and the whole ends by itself. Without a GPU the same runs on the CPU, in a size for trying it out.
#
#   bench/gpu/run.sh OUT MINUTES
set -uo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
ends=$(($(date +%s) + $2 * 60))
cd "$(dirname "$0")/../.." || exit 1
repository=$PWD kit=/tmp/adhere-kit site=/tmp/adhere-kit/site python=${PYTHON:-python3}
[[ -d $kit ]] || kit=$repository/bench/gpu/kit site=$(mktemp -d)
left() { echo $((ends - $(date +%s))); }
say() { echo "$(date +%T) $*" | tee -a "$out/timeline.txt"; }
# part SECONDS NAME COMMAND...: run for at most SECONDS, and no longer than what is left; the log is appended to NAME.txt.
part() {
    local limit=$1 name=$2 most
    shift 2
    most=$(left)
    [[ $most -lt 20 ]] && { say "no time left for $name"; return 1; }
    [[ $limit -lt $most ]] || limit=$most
    say "$name: $* (at most $limit s)"
    timeout -k 5 "$limit" "$@" >>"$out/$name.txt" 2>&1
    local code=$?
    say "$name ended with $code"
    return $code
}

if [[ -d $kit/wheels ]]; then
    part 120 install "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$kit"/wheels/*.whl
    export PYTHONPATH=$repository:$site
else
    export PYTHONPATH=$repository
fi
export HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
device=$("$python" -c 'import torch; print("cuda" if torch.cuda.is_available() else "cpu")')
{ nvidia-smi 2>/dev/null || echo "no GPU"; "$python" -c 'import torch; print(torch.__version__)'; } >"$out/machine.txt" 2>&1
adhere=("$python" -m adhere.train.cli)
part 60 machine "${adhere[@]}" doctor
if [[ $device == cuda ]]; then
    pairs=12 shapes=(math_only mixed smollm2 random_0_6b random_1_7b)
else
    pairs=2 shapes=(math_only)
fi
part 240 tests env ADHERE_GPU_TESTS="$device" "$python" -m pytest -q -p no:cacheprovider tests/gpu
model=/tmp/adhere-kit/smollm2
if compgen -G "$kit/smollm2.a?" >/dev/null && [[ ! -f $model/config.json ]]; then
    cat "$kit"/smollm2.a? >/tmp/smollm2.gguf
    part 90 install "${adhere[@]}" import-gguf /tmp/smollm2.gguf "$model"
fi
for shape in "${shapes[@]}"; do
    extra=()
    [[ $shape == smollm2 ]] && { [[ -f $model/config.json ]] || continue; extra=(--model "$model"); }
    part 150 steps "$python" bench/grpo_step.py --shape "$shape" --device "$device" --pairs "$pairs" \
        --root /tmp/adhere-bench --json "$out/step_$shape.json" "${extra[@]}"
    [[ -f $out/step_$shape.json ]] && { cat "$out/step_$shape.json" >>"$out/steps.jsonl"; rm "$out/step_$shape.json"; }
done
# Arms of SmolLM2 side by side on the one GPU, as long as time lasts; a stopped stage leaves its metrics.
if [[ -f $model/config.json && $device == cuda ]]; then
    words=(recipe=smollm2_words "model.path=$model" run.root=/tmp/adhere-arms tracking.wandb=off)
    part 180 arms "${adhere[@]}" train "${words[@]}" 'stages=[sft]' run.name=sft
    for arm in math_only composite; do
        part 600 "arm_$arm" "${adhere[@]}" train "${words[@]}" "stages={sft: {}, $arm: {kind: grpo, from: sft}}" \
            "run.name=$arm" &
    done
    wait
    tail -n 3 /tmp/adhere-arms/artifacts/*/metrics.jsonl >>"$out/arms.txt" 2>&1
    cat "$out"/arm_*.txt >>"$out/arms.txt" && rm "$out"/arm_*.txt
fi
say "done, $(left) s left"
