"""`swarmeval.Run`: reads a run folder. Writes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from swarmeval.errors import DataError
from swarmeval.records import Completion, Failure, Verdict
from swarmeval.runs.folder import read_manifest
from swarmeval.runs.journal import NAME as JOURNAL
from swarmeval.runs.journal import entries

if TYPE_CHECKING:
    import pandas

T = TypeVar("T")


class TaskResult(msgspec.Struct, frozen=True):
    """The verdicts on one task, over all agents. Repairs are not counted."""

    task_id: str = ""
    verdicts: int = 0
    passed: int = 0
    pass_at_1: float | None = msgspec.field(name="pass@1", default=None)  # None without a verdict
    outcomes: dict[str, int] = msgspec.field(default_factory=dict)  # failures count as NOT_GENERATED
    missing: bool = False  # whether it has no reply but counts as unsolved


class AgentResult(msgspec.Struct, frozen=True):
    """The results of one agent, over all tasks."""

    agent_id: int
    name: str | None
    jobs: int
    outcomes: dict[str, int]
    output_tokens: int
    retries: int
    pass_at_1: float | None = msgspec.field(name="pass@1", default=None)
    interval: tuple[float, float] | None = msgspec.field(name="pass@1_interval", default=None)  # 95 %


class Run:
    """The folder of a run or of `score`, finished or not. Reads only.

    Iterators read the journal from its start, one line at a time.

    Attributes:
        folder: The folder.
        manifest: The content of manifest.json: settings, data, versions, hardware.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a run folder.

        Raises:
            DataError: The folder holds no run.
            OutputError: Its manifest cannot be read.
        """
        self.folder = Path(folder)
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise DataError(f"{self.folder}: not a run folder (no manifest.json)")
        self.manifest: dict[str, Any] = manifest

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def run_id(self) -> str:
        """The run's id, which trackers and exports use too."""
        return str(self.manifest["run_id"])

    @property
    def finished(self) -> bool:
        """Whether every job has an answer or a failure, and every answer a verdict."""
        return bool(self.manifest.get("finished"))

    @property
    def score(self) -> dict[str, Any]:
        """The content of score.json. Raises DataError if the run has none, as it has only after its end."""
        return self._decoded("score.json", dict[str, Any])

    def completions(self) -> Iterator[Completion]:
        """The replies, in order of arrival. Raises OutputError if the journal cannot be read."""
        return (entry.completion for _, entry in entries(self.folder / JOURNAL) if entry.completion is not None)

    def failures(self) -> Iterator[Failure]:
        """The jobs that got no reply, with reasons. Raises OutputError if the journal cannot be read."""
        return (entry.failure for _, entry in entries(self.folder / JOURNAL) if entry.failure is not None)

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts, in the order in which they were reached; `job_id` joins them to the replies.

        Raises OutputError if the journal cannot be read.
        """
        return (entry.verdict for _, entry in entries(self.folder / JOURNAL) if entry.verdict is not None)

    def tasks(self) -> Iterator[TaskResult]:
        """The results per task, in the order of the benchmark. Raises DataError if the run has not written them yet."""
        found = self._decoded("task_summary.json", dict[str, TaskResult])
        return (msgspec.structs.replace(result, task_id=task_id) for task_id, result in found.items())

    def agents(self) -> Iterator[AgentResult]:
        """The results per agent. Raises DataError if the run has not written them yet."""
        return iter(self._decoded("agent_summary.json", list[AgentResult]))

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with one row per answered or failed job, indexed by `job_id`: reply, code, outcome, tokens and times.

        Columns whose names end in `_s` are in seconds. `passed` is missing if there is no verdict. The outcome of a
        failed job is NOT_GENERATED. Loads the whole run into memory.

        Raises:
            OutputError: The journal cannot be read.
        """
        from swarmeval.library.frame import frame

        return frame(self.completions(), self.failures(), {verdict.job_id: verdict for verdict in self.verdicts()})

    def _decoded(self, name: str, kind: type[T]) -> T:
        path = self.folder / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            raise DataError(f"{path}: missing; finish the run first") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read ({error}); repeat the run with this version") from None
