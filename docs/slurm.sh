#!/usr/bin/env bash
# A run on one node of a SLURM cluster, one replica per GPU, that survives preemption and its own time limit.
#
#   sbatch docs/slurm.sh [flags of main.py]           in the checkout, after scripts/setup; on a folder that nodes share
#
# Some time before the limit, or when SLURM preempts the job, the run is asked to finish what it has begun and to stop;
# the job is then queued again, and the same command goes on where the run stopped. A node that dies is the same case.
# The job's exit code is that of the run: 0 done, 1 ended with failures recorded, 2 something must be changed first (such
# a job is not queued again), 130 interrupted by somebody else than SLURM.
#
#SBATCH --job-name=swarmeval
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=swarmeval-%j.out
#SBATCH --signal=B:TERM@120
set -u

drain_s=${SWARMEVAL_DRAIN_S:-90} # for what has begun; after it the run stops at once. Less than the 120 s above.
interrupted=130

cd -- "${SLURM_SUBMIT_DIR:?to be started by sbatch}" || exit 2
echo "job $SLURM_JOB_ID on $(hostname), start $((${SLURM_RESTART_COUNT:-0} + 1)), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

srun --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    .venv/bin/python main.py --config config/config.yaml "$@" &
run=$!

# scancel reaches the processes of the step. srun itself would keep a SIGINT that it gets to itself.
interrupt() { scancel --signal=INT "$SLURM_JOB_ID"; }

stopping=""
stop() {
    [ -z "$stopping" ] || return 0 # SLURM may say it twice
    stopping=yes
    echo "asked to stop: the run finishes what it has begun, for at most $drain_s s"
    interrupt
    {
        timeout "$drain_s" tail --pid="$run" -f /dev/null
        [ $? -ne 124 ] || interrupt
    } &
}
trap stop TERM

code=0
while :; do # a signal ends the wait, not the run
    wait "$run"
    code=$?
    kill -0 "$run" 2>/dev/null || break
done
wait "$run" 2>/dev/null # should the run have ended between signal and look
last=$?
[ "$last" -eq 127 ] || code=$last

# Of a job that somebody cancelled, or that SLURM has taken out and queues again by itself, the state is another one.
if [ -n "$stopping" ] && [ "$code" -eq "$interrupted" ] &&
    [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    echo "stopped; queued again, the same command goes on"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
