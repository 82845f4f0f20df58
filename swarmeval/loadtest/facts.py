"""load_facts.json: what a load run knows beside its requests. The report is made again from it and requests.csv."""

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
    """What an answer is expected to keep; None: no limit."""

    ttft_s: float | None = None
    tpot_s: float | None = None

    def __bool__(self) -> bool:
        return self.ttft_s is not None or self.tpot_s is not None


@dataclass(frozen=True, slots=True)
class LevelFacts:
    """One level of load, in the order of the run."""

    name: str  # as in requests.csv
    warmup_s: float = 0.0
    joules: float | None = None  # that it took, above the idle machine; None where that is not known


@dataclass(frozen=True, slots=True)
class Memory:
    """What allocated memory at its peak, by line and by function of the pipeline."""

    lines: tuple[tuple[str, int, int], ...]  # (file, line, bytes)
    functions: tuple[tuple[str, int], ...] = ()  # (name, bytes)
    source: str = ""  # what measured it


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """All of it has a default: a run that was killed before it wrote any is reported from its rows alone."""

    title: str = "A server under load"
    run_id: str = ""
    finished: bool = False
    slo: Slo = Slo()
    levels: tuple[LevelFacts, ...] = ()
    settings: Mapping[str, FactValue] = field(default_factory=dict)  # shown as they are
    energy_source: str | None = None  # None: not measurable here
    memory: Memory | None = None
    worth: Mapping[str, Mapping[str, FactValue]] | None = None  # package -> what its tests are worth; floats are shares


def write(folder: Path, facts: LoadFacts) -> None:
    """Replace the file; no secret is in it. Raises OutputError."""
    with replaced(folder / NAME) as file:
        json.dump(scrubbed(asdict(facts)), file, indent=2)
        file.write("\n")


def read(folder: Path) -> LoadFacts:
    """The facts; the defaults where there is no file. Raises OutputError where it cannot be read as one."""
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=LoadFacts)
    except FileNotFoundError:
        return LoadFacts()
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); mend that or move it away") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise OutputError(f"{path}: is no file of a load run ({error}); move it away") from None
