#!/bin/bash
# A run as one Slurm job: a Ray cluster of its own on the nodes of the job, and the main job as its driver.
#
#   sbatch jobs/recipes/slurm.sh --images /data/coco/train2017.zip --model /data/sod-diffusion --out /data/runs/coco-1
#
# Submit it in the checkout, whose .venv (or SOD_VENV) the nodes share, as they share the paths in the options.
# SOD_HEAD_IP: the address of the first node, if neither its name nor `hostname -I` gives first the one that the others
# reach.
#
# What follows from how the command ends (exit codes: jobs/README.md):
#   0        done.
#   1        the job is requeued, and the same command resumes; after SOD_RESTARTS (5) restarts it fails.
#   2, 3     the job fails: another try would end the same way.
# Time is up: three minutes before, Slurm sends USR1; the run stops, and the job is requeued. Preempted: Slurm ends the
# job, with TERM first, and requeues it. Cancelled: the same, and nothing is requeued. First node lost: Slurm requeues
# the job. Another node lost: the run goes on with the others (--no-kill).
#SBATCH --job-name=sod-coco-1
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --no-kill
# shellcheck disable=SC2317  # functions that traps call
set -uo pipefail

cd "${SLURM_SUBMIT_DIR:?submit this file with sbatch}" || exit 2
# shellcheck disable=SC1091
source "${SOD_VENV:-.venv}/bin/activate" || exit 2

RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')  # of this job alone; srun passes it on, no file has it
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
# Other jobs may share a node: ports that differ from theirs, and a folder of this job's own (short: it holds sockets).
port=$((20000 + SLURM_JOB_ID % 5000 * 2))
temp=/tmp/sod-$SLURM_JOB_ID
common=(--block --disable-usage-stats --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0
    --object-store-memory=1000000000)
# A node may know its own name as 127.0.1.1 only, as Debian's /etc/hosts has it.
addresses() { getent ahostsv4 "$SLURMD_NODENAME" | awk '{ print $1 }'; hostname -I 2> /dev/null | tr ' ' '\n'; }
ip=${SOD_HEAD_IP:-$(addresses | awk '/^[0-9.]+$/ && !/^127\./ && !found++')}
if [[ -z $ip ]]; then
    echo "$SLURMD_NODENAME has no address but loopback that the other nodes could reach: set SOD_HEAD_IP" >&2
    exit 2
fi
driver="" again=""

end_cluster() {
    # shellcheck disable=SC2046
    kill -TERM $(jobs -p) 2> /dev/null
    wait
    rm -rf -- "$temp"
}
trap end_cluster EXIT
finish() {  # with the driver's exit code
    case $1 in
        0 | 2 | 3) exit "$1" ;;
    esac
    if [[ $again == yes ]] || { [[ -z $again ]] && ((${SLURM_RESTART_COUNT:-0} < ${SOD_RESTARTS:-5})); }; then
        echo "exit code $1: the job is requeued, and resumes"
        scontrol requeue "$SLURM_JOB_ID"
    fi
    exit "$1"
}
stop() { if [[ -n $driver ]]; then kill -TERM "$driver" 2> /dev/null; else finish 1; fi; }
trap 'again=yes; stop' USR1
trap 'again=no; stop' TERM INT

ray start --head --node-ip-address="$ip" --port="$port" --ray-client-server-port=$((port + 1)) \
    --include-dashboard=false --temp-dir="$temp" --num-cpus="$SLURM_CPUS_ON_NODE" \
    --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "${common[@]}" &
head=$!
export RAY_ADDRESS=$ip:$port
tries=0
until ray health-check --address "$RAY_ADDRESS" > /dev/null 2>&1; do
    if ! kill -0 "$head" 2> /dev/null || ((++tries > 120)); then
        echo "the Ray head did not start" >&2
        finish 1
    fi
    sleep 1
done

if ((SLURM_NNODES > 1)); then
    # One task per further node. Each takes its node's cores and GPUs; the end of one does not end the others.
    # shellcheck disable=SC2016
    srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) --relative=1 --no-kill --kill-on-bad-exit=0 \
        --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" bash -c '
            trap "ended=yes; kill -TERM \$ray 2> /dev/null" TERM  # the folder is removed after Ray has ended
            ended="" ray=""
            ray start --address="$RAY_ADDRESS" --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@" &
            ray=$!
            [[ -z $ended ]] || kill -TERM $ray
            wait; wait
            rm -rf -- "/tmp/sod-$SLURM_JOB_ID"' bash "${common[@]}" &
fi

python jobs/coco_pseudolabel.py "$@" &
driver=$!
wait "$driver"
code=$?
while kill -0 "$driver" 2> /dev/null; do  # a signal ended the wait, not the driver
    wait "$driver"
    code=$?
done
finish "$code"
