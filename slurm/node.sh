#!/usr/bin/env bash
# What every node of a job runs, by srun: "check" what it sees, then "run" its part of the stage.
# It is a file of its own, so that SLURM_NODEID is this node's and not that of the node which submitted it.
set -euo pipefail

NODE=${SLURMD_NODENAME:-$(hostname)}
answer() { echo "adhere-node $NODE $*"; }
fail() {
    answer "fault $*"
    exit 64
}

check() {
    [[ -n ${SLURM_NODEID:-} ]] || fail "SLURM_NODEID is missing: this file is run by srun inside a job"
    [[ $(cat "$JOB_FOLDER/canary-$SLURM_JOB_ID" 2>/dev/null) == "$SLURM_JOB_ID" ]] ||
        fail "does not see $JOB_FOLDER as the first node does: run.root has to lie on a file system that all nodes share"
    [[ -w $ARTIFACT ]] || fail "may not write $ARTIFACT"
    local wanted=@gpus@ seen=0 devices="CUDA_VISIBLE_DEVICES=''" name said code=0
    for name in CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ZE_AFFINITY_MASK; do
        if [[ -n ${!name:-} ]]; then
            devices="$name='${!name}'" seen=$(tr ',' '\n' <<<"${!name}" | grep -c .)
            break
        fi
    done
    [[ $wanted == 0 || $seen == "$wanted" ]] ||
        fail "sees $seen GPUs ($devices), the job needs $wanted: check gpus_per_node of the profile"
    command -v @command@ >/dev/null || fail "has no @command@: check python and container of the profile"
    said=$(@container@ "$PYTHON" -m adhere.train.launch.slurm.node_check @requirements@ 2>&1) || code=$?
    case $code in
        0) answer ok "$(tail -n 1 <<<"$said")" ;;
        78) answer "profile $(tail -n 1 <<<"$said")" ;;
        64) fail "$(tail -n 1 <<<"$said")" ;;
        *) fail "$PYTHON does not start: $(tail -n 1 <<<"$said")" ;;
    esac
}

run() {
    local log=$ARTIFACT/logs/attempt_$ATTEMPT@suffix@.log
    export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_PROGRESS_BARS=1 OMP_WAIT_POLICY=passive
    export OMP_NUM_THREADS=@threads@ ADHERE_NOTICE_SECONDS=@notice_seconds@
    # The agent of accelerate dies of a USR1; the notice reaches the ranks by the STOP file.
    trap '' USR1
    echo "attempt $ATTEMPT, job $SLURM_JOB_ID, node $SLURM_NODEID of $SLURM_NNODES: $NODE" >>"$log"
    exec @container@ "$PYTHON" @around@ @launch@ "$ARTIFACT/@spec_file@" >>"$log" 2>&1
}

# The companion servers of the stage, on a node of their own.
serve() {
    echo "attempt $ATTEMPT, job $SLURM_JOB_ID, servers on $NODE" >>"$ARTIFACT/logs/attempt_$ATTEMPT.servers.log"
    exec @container@ "$PYTHON" -m adhere.train.launch.serve.serving run "$ARTIFACT/@spec_file@" --host "$1" \
        >>"$ARTIFACT/logs/attempt_$ATTEMPT.servers.log" 2>&1
}

set +u
@setup@
set -u
# Slurm hands on the login node's soft limits, and InfiniBand and many workers need more.
for limit in n l; do
    ulimit -S -$limit "$(ulimit -H -$limit)" || true
done
# What is compiled goes to this node's own disk: a folder that nobody else may write.
CACHE=${TMPDIR:-/tmp}/adhere-$(id -u)
mkdir -m 700 "$CACHE" 2>/dev/null || [[ -d $CACHE && -O $CACHE && ! -L $CACHE ]] || CACHE=$(mktemp -d)
@environment@
"$@"
