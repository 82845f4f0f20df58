#!/usr/bin/env bash
# Runs Swarmeval on one node of a SLURM cluster, with one replica per GPU. Survives preemption and the time limit.
#
#   sbatch docs/slurm.sh [flags of main.py]     in the checkout, after scripts/setup; all nodes must see it
#
# Shortly before the time limit, or when it preempts the job, SLURM signals this script. The run then finishes its
# running jobs and stops. The script requeues the SLURM job, which resumes the run. After a node failure, SLURM requeues
# the job itself.
# The job's exit code is that of the run: 0 done, 1 finished with recorded failures, 2 something must be changed first,
# 130 interrupted. Only a run that SLURM interrupted is requeued.
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

drain_s=${SWARMEVAL_DRAIN_S:-90} # time for running jobs; then the run stops at once. Must be less than the 120 s above.
interrupted=130

cd -- "${SLURM_SUBMIT_DIR:?start this script with sbatch}" || exit 2
echo "job $SLURM_JOB_ID on $(hostname), start $((${SLURM_RESTART_COUNT:-0} + 1)), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"

srun --ntasks=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
    .venv/bin/python main.py --config config/config.yaml "$@" &
run=$!

# scancel signals the processes of the step. srun would not pass on a SIGINT that it received itself.
interrupt() { scancel --signal=INT "$SLURM_JOB_ID"; }

stopping=""
stop() {
    [ -z "$stopping" ] || return 0 # SLURM may send the signal twice
    stopping=yes
    echo "asked to stop: running jobs have at most $drain_s s to finish"
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
wait "$run" 2>/dev/null # in case the run ended between the signal and the check
last=$?
[ "$last" -eq 127 ] || code=$last

# A job that was cancelled, or that SLURM is requeueing itself, is no longer RUNNING.
if [ -n "$stopping" ] && [ "$code" -eq "$interrupted" ] &&
    [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    echo "stopped; requeueing the job, which resumes the run"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
