#!/usr/bin/env bash
# What every node of a job runs, by srun: "check" what it sees, then "run" its part of the stage.
# It is a file of its own, so that SLURM_NODEID is this node's and not that of the node which submitted it.
set -euo pipefail

fail() {
    echo "${SLURMD_NODENAME:-$(hostname)}: $*" >&2
    exit 64
}

check() {
    [[ -n ${SLURM_NODEID:-} ]] || fail "SLURM_NODEID is missing: this file is run by srun inside a job"
    [[ $(cat "$JOB_FOLDER/canary-$SLURM_JOB_ID" 2>/dev/null) == "$SLURM_JOB_ID" ]] ||
        fail "does not see $JOB_FOLDER as the first node does: run.root has to lie on a file system that all nodes share"
    [[ -w $ARTIFACT ]] || fail "may not write $ARTIFACT"
    local wanted=@gpus@ seen=0
    if [[ -n ${CUDA_VISIBLE_DEVICES:-} ]]; then
        seen=$(tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
    fi
    [[ $wanted == 0 || $seen == "$wanted" ]] ||
        fail "sees $seen GPUs (CUDA_VISIBLE_DEVICES='${CUDA_VISIBLE_DEVICES:-}'), the job needs $wanted: check gpus_per_node of the profile"
    command -v @command@ >/dev/null || fail "has no @command@: check python and container of the profile"
}

run() {
    local log=$ARTIFACT/logs/attempt_$ATTEMPT@suffix@.log
    export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_DISABLE_PROGRESS_BARS=1 OMP_WAIT_POLICY=passive
    export OMP_NUM_THREADS=@threads@ ADHERE_NOTICE_SECONDS=@notice_seconds@
@environment@
    # The agent of accelerate dies of a USR1; the notice reaches the ranks by the STOP file.
    trap '' USR1
    echo "attempt $ATTEMPT, job $SLURM_JOB_ID, node $SLURM_NODEID of $SLURM_NNODES: ${SLURMD_NODENAME:-$(hostname)}" >>"$log"
    exec @container@ "$PYTHON" @around@ @launch@ "$ARTIFACT/@spec_file@" >>"$log" 2>&1
}

# The companion servers of the stage, on a node of their own.
serve() {
    echo "attempt $ATTEMPT, job $SLURM_JOB_ID, servers on ${SLURMD_NODENAME:-$(hostname)}" >>"$ARTIFACT/logs/attempt_$ATTEMPT.servers.log"
@environment@
    exec @container@ "$PYTHON" -m adhere.train.launch.serve.serving run "$ARTIFACT/@spec_file@" --host "$1" \
        >>"$ARTIFACT/logs/attempt_$ATTEMPT.servers.log" 2>&1
}

set +u
@setup@
set -u
"$@"
