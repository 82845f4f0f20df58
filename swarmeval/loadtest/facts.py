"""load_facts.json: everything about a load run except its requests. Reports are made from it and requests.csv."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import msgspec

from swarmeval.errors import OutputError
from swarmeval.files import replaced
from swarmeval.secrets import scrubbed

NAME = "load_facts.json"

FactValue = str | int | float | None


@dataclass(frozen=True, slots=True)
class Slo:
    """Latency limits for an answer; None: no limit."""

    ttft_s: float | None = None
    tpot_s: float | None = None

    def __bool__(self) -> bool:
        return self.ttft_s is not None or self.tpot_s is not None


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """One level of load, in the order of the run."""

    name: str  # as in requests.csv
    warmup_s: float = 0.0
    joules: float | None = None  # energy above the idle machine; None if not measured


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory allocations at the peak, per line and per function of the pipeline."""

    lines: tuple[tuple[str, int, int], ...]  # (file, line, bytes)
    functions: tuple[tuple[str, int], ...] = ()  # (name, bytes)
    source: str = ""  # the tool that measured it


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """The facts of one load run.

    Every field has a default, so that a run killed before it wrote this file can be reported from its rows alone.
    """

    title: str = "A server under load"
    run_id: str = ""
    finished: bool = False
    slo: Slo = Slo()
    levels: tuple[LevelFacts, ...] = ()
    settings: Mapping[str, FactValue] = field(default_factory=dict)  # the report shows them unchanged
    energy_source: str | None = None  # None: not measurable on this machine
    memory: Memory | None = None
    worth: Mapping[str, Mapping[str, FactValue]] | None = None  # package -> test quality measures; floats are shares


def write(folder: Path, facts: LoadFacts) -> None:
    """Replace the file, with secrets removed. Raises OutputError."""
    with replaced(folder / NAME) as file:
        json.dump(scrubbed(asdict(facts)), file, indent=2)
        file.write("\n")


def read(folder: Path) -> LoadFacts:
    """Read the facts; defaults if there is no file. Raises OutputError if the file is unreadable or invalid."""
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=LoadFacts)
    except FileNotFoundError:
        return LoadFacts()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); fix this or move the file away") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: not a valid load_facts.json ({error}); move the file away") from None
