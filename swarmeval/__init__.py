"""Swarmeval: measures how well, how fast and at what cost a language model writes code.

As a library: see docs/library.md. A public name is imported at its first use, because workers import this package too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swarmeval.errors import ConfigError, DataError, OutputError, SandboxError, SwarmevalError, UserError
    from swarmeval.executed import Case, Comparison, Executed
    from swarmeval.library.benchmarks import load_tasks
    from swarmeval.library.extraction import extract
    from swarmeval.library.finished import compare
    from swarmeval.library.judge import Judge
    from swarmeval.library.run import AgentResult, Run, TaskResult
    from swarmeval.library.scoring import Score, score
    from swarmeval.records import Candidate, Completion, Failure, Outcome, Suite, Task, Verdict
    from swarmeval.scores.intervals import of_pass_at_k as pass_at_k_interval
    from swarmeval.scores.intervals import over_tasks as bootstrap_interval
    from swarmeval.scores.intervals import wilson as wilson_interval
    from swarmeval.scores.paired import Paired
    from swarmeval.scores.stats import mean_pass_at_k, pass_at_k
    from swarmeval.version import VERSION as __version__  # noqa: N811 (the name that packages use)

__all__ = [
    "AgentResult", "Candidate", "Case", "Comparison", "Completion", "ConfigError", "DataError", "Executed", "Failure",
    "Judge", "Outcome", "OutputError", "Paired", "Run", "SandboxError", "Score", "Suite", "SwarmevalError", "Task",
    "TaskResult", "UserError", "Verdict", "__version__", "bootstrap_interval", "compare", "extract", "load_tasks",
    "mean_pass_at_k", "pass_at_k", "pass_at_k_interval", "score", "wilson_interval",
]  # fmt: skip

_PLACES = {
    "swarmeval.errors": ("ConfigError", "DataError", "OutputError", "SandboxError", "SwarmevalError", "UserError"),
    "swarmeval.executed": ("Case", "Comparison", "Executed"),
    "swarmeval.library.benchmarks": ("load_tasks",),
    "swarmeval.library.extraction": ("extract",),
    "swarmeval.library.finished": ("compare",),
    "swarmeval.library.judge": ("Judge",),
    "swarmeval.library.run": ("AgentResult", "Run", "TaskResult"),
    "swarmeval.library.scoring": ("Score", "score"),
    "swarmeval.records": ("Candidate", "Completion", "Failure", "Outcome", "Suite", "Task", "Verdict"),
    "swarmeval.scores.paired": ("Paired",),
    "swarmeval.scores.stats": ("mean_pass_at_k", "pass_at_k"),
}
_RENAMED = {
    "__version__": ("swarmeval.version", "VERSION"),
    "bootstrap_interval": ("swarmeval.scores.intervals", "over_tasks"),
    "pass_at_k_interval": ("swarmeval.scores.intervals", "of_pass_at_k"),
    "wilson_interval": ("swarmeval.scores.intervals", "wilson"),
}


if not TYPE_CHECKING:  # with it, type checkers would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name. Raises AttributeError for other names."""
        from importlib import import_module

        places = {public: (module, public) for module, names in _PLACES.items() for public in names} | _RENAMED
        if name not in places:
            raise AttributeError(f"module 'swarmeval' has no attribute {name!r}")
        module, attribute = places[name]
        found: object = getattr(import_module(module), attribute)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
