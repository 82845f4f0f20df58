"""The batch audit: some jobs are answered again one by one, separate from the run."""

import json
from pathlib import Path

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.runs.audit import NAME, Audit
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.journal import entries
from swarmeval.runs.result_files import write
from tests.support.coordinator_bench import Bench
from tests.support.echo_fleet import EchoFleet, EchoWorker


def audited(folder: Path) -> list[str]:
    return [entry.completion.job_id for _, entry in entries(folder / NAME) if entry.completion is not None]


def test_jobs_are_answered_again_one_by_one_and_kept_out_of_the_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=3, tasks=4, audit={"jobs": 5})
    worker = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([worker]))
    assert set(bench.answers()) == bench.planned()
    again = audited(tmp_path)
    assert again == worker.served[12:]
    assert len(set(again)) == 5
    score = write(tmp_path, tmp_path / JOURNAL, bench.ledger, {})
    assert score["evaluations"] == 12
    found = score["batch_audit"]
    assert isinstance(found, dict)
    assert (found["jobs"], found["replies_changed"], found["verdicts_changed"]) == (5, 0, 0)
    assert found["tokens_per_s"] == 10.0  # two tokens in 0.2 s per job


def test_what_changed_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=1, tasks=2)
    assert bench.run(EchoFleet([EchoWorker("cpu:0")]))
    with Audit(tmp_path, bench.plan, 2) as audit:
        audit.keep(Completion("0/T/0/0/0", "another", latency_s=1.5), Verdict("0/T/0/0/0", Outcome.PASSED, ""))
        same = Completion("0/T/1/0/0", "echo 0/T/1/0/0", latency_s=0.5)
        audit.keep(same, Verdict("0/T/1/0/0", Outcome.WRONG_ANSWER, ""))
    write(tmp_path, tmp_path / JOURNAL, bench.ledger, {})
    found = json.loads((tmp_path / "score.json").read_text())["batch_audit"]
    assert (found["changed_replies"], found["changed_verdicts"]) == (["0/T/0/0/0"], ["0/T/0/0/0"])


def test_an_audit_goes_on_in_the_next_session_with_a_worker_that_it_starts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, agents=2, tasks=2, audit={"jobs": 3})
    assert bench.run(EchoFleet([EchoWorker("cpu:0", deaths=[6, 7, 8])]))  # three tries of the second audit job
    assert len(audited(tmp_path)) == 1
    again = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([again]))
    assert len(again.served) == 2
    assert len(set(audited(tmp_path))) == 3
    idle = EchoWorker("cpu:0")
    assert bench.run(EchoFleet([idle]))
    assert idle.starts == 0
