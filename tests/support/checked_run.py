"""A run by the real command in its own folder, and checks of everything that it leaves behind.

Processes are found by a mark in their environment or by the scratch folder in their command line. Unknown files in the
run folder are errors. This module does not depend on which fault was injected.
"""

import contextlib
import csv
import fnmatch
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from swarmeval.records import NOT_GENERATED, Completion, Failure, Verdict
from swarmeval.runs.folder import ARCHIVE, LOCK, RUN_FILES, locked, read_manifest
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.journal import Entry, entries
from swarmeval.runs.plan import Plan, make_agents
from swarmeval.runs.result_files import METRICS
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import load
from swarmeval.workers.replica_spec import Script
from tests.support.checkout import ROOT

MARK = "SWARMEVAL_TESTED_BY"
PATIENCE_S = 120.0  # for a session to end, or to reach a point
LOOK_EVERY_S = 0.004
GONE_WITHIN_S = 10.0  # for a process whose parent was killed
RESUMES = 4


@dataclass(frozen=True)
class Ended:
    """An ended session: exit code and output."""

    code: int
    out: str
    err: str

    def fault_of_ours(self) -> bool:
        return "Traceback" in self.err or "never retrieved" in self.err


class Run:
    """A run of scripted replicas by the real command. Each session has the same arguments, so it resumes the run."""

    def __init__(self, place: Path, agents: int = 2, tasks: int = 6, script: Script | None = None, **settings: object):
        """Prepare a run. `place`: an otherwise unused folder."""
        self.agents, self.tasks = agents, tasks
        self.folder, self.scratch = place / "run", place / "scratch"
        self.visible_folder = self.folder  # path of the run folder as this process sees it
        self.patience_s = PATIENCE_S
        self.prefix: Sequence[str] = ()  # goes before the command, as `nsenter ...` does
        self.scratch.mkdir(parents=True)
        self._started: list[subprocess.Popen[bytes]] = []
        self._script = place / "script.json"
        self._mark = uuid.uuid4().hex
        self.write_script(script or Script())
        self._settings = {
            "engine": "scripted", "model_id": self._script, "eval_timeout_scale": 1, "monitor": "{idle_baseline_s: 0}",
            **settings,
        }  # fmt: skip

    def write_script(self, script: Script) -> None:
        """Set what the replicas do in the next session. The script is not part of the settings that identify a run."""
        self._script.write_bytes(msgspec.json.encode(script))

    @property
    def words(self) -> list[str]:
        pairs = [f"{key}={value}" for key, value in self._settings.items()]
        flags = ["--num_agents", str(self.agents), "--num_tasks", str(self.tasks), "--output_dir", str(self.folder)]
        return [sys.executable, "main.py", "--config", "config/smoke.yaml", *flags, "--set", *pairs]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, MARK: self._mark, "TMPDIR": str(self.scratch)}

    def start(self, *more: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Start a session. Its output goes to files: with pipes, a leftover process would block the reader."""
        with self._output_file("out").open("wb") as out, self._output_file("err").open("wb") as err:
            process = subprocess.Popen(
                [*self.prefix, *self.words, *more], cwd=ROOT, env=self.environment, stdin=stdin, stdout=out, stderr=err,
                # Under a background job of a shell, SIGINT is ignored, and children would inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        self._started.append(process)
        return process

    def kill(self) -> None:
        """Kill all remaining processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()

    def end_of(self, process: "subprocess.Popen[bytes]") -> Ended:
        """Wait for the session's end."""
        try:
            code = process.wait(self.patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        return Ended(code, *(self._output_file(name).read_text(errors="replace") for name in ("out", "err")))

    def session(self, *more: str) -> Ended:
        """Run a session to its end."""
        return self.end_of(self.start(*more))

    def reached(self, process: "subprocess.Popen[bytes]", point: Callable[[], bool]) -> bool:
        """Wait until `point` holds; False if the session ends first."""
        for _ in range(int(self.patience_s / LOOK_EVERY_S)):
            if point():
                return True
            try:
                process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
            return point()
        raise TimeoutError("the point was not reached; " + self._output_file("err").read_text(errors="replace")[-2000:])

    # Conditions for points.

    @property
    def journal(self) -> Path:
        return self.visible_folder / JOURNAL

    def journaled(self, size: int) -> bool:
        """Whether the journal has at least this many bytes."""
        return self.journal.exists() and self.journal.stat().st_size >= size

    def holds(self, name: str, text: str) -> bool:
        """Whether a file of the run contains a text."""
        try:
            return text in (self.visible_folder / name).read_text(errors="replace")
        except OSError:
            return False

    def status(self) -> dict[str, Any]:
        """The status that viewers read; a status without workers before the first is written."""
        path = self.visible_folder / "status.json"
        status: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"workers": []}
        return status

    def processes(self) -> dict[int, str]:
        """PID -> command line of every living process of this run."""
        commands = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            words, environment = _read(entry / "cmdline").replace(b"\0", b" "), _read(entry / "environ")
            marked = f"{MARK}={self._mark}".encode() in environment
            if marked or str(self.scratch).encode() in words:
                commands[int(entry.name)] = words.decode(errors="replace")
        return commands

    def workers(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if "swarmeval.workers.process" in words]

    def judges(self) -> list[int]:
        """The wardens: each is the leader of its own session."""
        return [pid for pid in self._in_sandbox() if os.getsid(pid) == pid]

    def jails(self) -> list[int]:
        """The processes that the wardens started, and their descendants."""
        return [pid for pid in self._in_sandbox() if os.getsid(pid) != pid]

    def _in_sandbox(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if "sandbox" in words and str(self.scratch) in words]

    def _output_file(self, name: str) -> Path:
        return self.scratch.parent / f"{name}.txt"

    @cached_property
    def plan(self) -> Plan:
        config = RunConfig(num_agents=self.agents, humaneval_limit=self.tasks)
        return Plan(make_agents(config), load("humaneval").tasks[: self.tasks])

    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.visible_folder) or {}

    def processes_end(self) -> bool:
        """Whether all processes of this run end by themselves in time."""
        for _ in range(int(GONE_WITHIN_S / LOOK_EVERY_S)):
            if not self.processes():
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(["sleep", "1"], timeout=LOOK_EVERY_S, check=False)
        return False

    def expect_quiet(self) -> None:
        """Fail if a process of this run is left or its folder is locked."""
        assert self.processes_end(), self.processes()
        with locked(self.visible_folder):
            pass

    def recover(self, without_report: bool = False, archives: int = 0) -> Ended | None:
        """Resume until the run is finished, then check everything. Returns the last session, None if none was needed.

        `without_report`: the fault hit a run that was complete except for the report, so its own command makes it.
        """
        self.expect_quiet()
        last = None
        for _ in range(RESUMES):
            if self.manifest().get("finished"):
                break
            last = self.session()
            assert not last.fault_of_ours(), last.err
        assert self.manifest()["finished"], last
        assert last is None or last.code in (0, 1), last
        if without_report and not (self.visible_folder / "report.html").exists():
            report = [*self.prefix, sys.executable, "main.py", "report", str(self.folder)]
            subprocess.run(report, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        self.check(archives)
        return last

    def check(self, archives: int = 0) -> None:
        """Fail unless every job is recorded and judged exactly once, all files agree, and no other files exist."""
        self.expect_quiet()
        answers, verdicts = self._recorded()
        completions = {job_id for job_id, answer in answers.items() if isinstance(answer, Completion)}
        assert answers.keys() == {self.plan.job(k).job_id for k in range(self.plan.total)}
        assert verdicts.keys() == completions
        for job_id in completions:
            answer = answers[job_id]
            assert isinstance(answer, Completion)
            assert f"return {self.plan.seed(self.plan.number(job_id)) % 7}\n" in answer.reply
        self._check_results(answers, verdicts)
        self._check_folder()
        assert len(list(self.visible_folder.glob("archive/*"))) == archives

    def _recorded(self) -> tuple[dict[str, Completion | Failure], dict[str, Verdict]]:
        """Answers and verdicts by job id. Fails if the journal has two for one job."""
        journaled: list[Entry] = [entry for _, entry in entries(self.journal)]
        answers = [answer for entry in journaled if (answer := entry.completion or entry.failure)]
        verdicts = [entry.verdict for entry in journaled if entry.verdict]
        for records in (answers, verdicts):
            assert [job_id for job_id, count in Counter(one.job_id for one in records).items() if count > 1] == []
        return {one.job_id: one for one in answers}, {one.job_id: one for one in verdicts}

    def _check_results(self, answers: dict[str, Completion | Failure], verdicts: dict[str, Verdict]) -> None:
        outcomes = {
            job_id: str(verdicts[job_id].outcome) if job_id in verdicts else NOT_GENERATED for job_id in answers
        }
        score = json.loads((self.visible_folder / "score.json").read_text())
        assert (score["evaluations"], score["failures"], score["unanswered"], score["unjudged"]) == (
            len(verdicts), len(answers) - len(verdicts), 0, 0,
        )  # fmt: skip
        assert score["partial"] is (len(answers) != len(verdicts))
        assert score["outcomes"] == dict(Counter(str(verdict.outcome) for verdict in verdicts.values()))
        assert score["run_id"] == self.manifest()["run_id"]
        assert score["generation_s"] >= 0
        with (self.visible_folder / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == METRICS
        assert [row["job_id"] for row in rows] == [self.plan.job(k).job_id for k in range(self.plan.total)]
        assert {row["job_id"]: row["outcome"] for row in rows} == outcomes
        summaries = json.loads((self.visible_folder / "agent_summary.json").read_text())
        assert [summary["jobs"] for summary in summaries] == [self.tasks] * self.agents
        for agent in range(self.agents):
            self._check_agent(agent, answers, outcomes)

    def _check_agent(self, agent: int, answers: dict[str, Completion | Failure], outcomes: dict[str, str]) -> None:
        text = (self.visible_folder / f"agent_{agent}_results.jsonl").read_text()
        lines = {line["job_id"]: line for line in map(json.loads, text.splitlines())}
        mine = {
            job_id: answer.reply
            for job_id, answer in answers.items()
            if isinstance(answer, Completion) and job_id.startswith(f"{agent}/")
        }
        assert {job_id: line["reply"] for job_id, line in lines.items()} == mine
        evaluation = json.loads((self.visible_folder / f"agent_{agent}_evaluation.json").read_text())
        judged = {f"{agent}/{task}/0/0": made[0]["outcome"] for task, made in evaluation["tasks"].items()}
        assert judged == {job_id: outcome for job_id, outcome in outcomes.items() if job_id.startswith(f"{agent}/")}

    def _check_folder(self) -> None:
        sessions = self.manifest()["sessions"]
        assert sessions[-1]["reason"] == "finished"
        assert all(session["reason"] for session in sessions)
        assert json.loads((self.visible_folder / "status.json").read_text())["phase"] == "done"
        assert (self.visible_folder / "report.html").read_text().rstrip().endswith("</html>")
        known = (*RUN_FILES, LOCK, ARCHIVE)
        strange = [
            path.name for path in self.visible_folder.iterdir() if not any(fnmatch.fnmatch(path.name, k) for k in known)
        ]
        assert strange == []
        left = sorted(str(path.relative_to(self.scratch)) for path in self.scratch.rglob("*"))
        assert left == [], left


NewRun = Callable[..., Run]


def _read(path: Path) -> bytes:
    """A file of a process in /proc; empty if the process has ended or cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
