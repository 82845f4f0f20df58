"""Every exception this project raises on purpose, in one tree.

    SwarmevalError
    ├── UserError               the user must change something: one line, exit code 2
    │   ├── ConfigError         a setting, flag or YAML file
    │   ├── DataError           a benchmark or replies file
    │   ├── ModelUnavailable    the model cannot be found, fetched or read
    │   ├── DeviceError         no usable device, or the model did not land on it
    │   ├── OutputError         the run folder cannot be written
    │   │   └── RunLocked       another coordinator works in it
    │   └── SandboxError        programs cannot be run here
    └── WorkerDied              a worker process ended, hung or ran out of memory: its jobs go back to the queue
        └── WorkerGone          before it was given these jobs

What is none of these is a bug of ours and keeps its traceback.
"""

from swarmeval.secrets import scrub


class SwarmevalError(Exception):
    """Base of all; str() is one line that says where, what was found and what to do, and holds no secret."""

    def __str__(self) -> str:
        return scrub(super().__str__())  # it often carries the words of a library


class UserError(SwarmevalError):
    """The user must change something; what is done stays, resumable."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, out of range or impossible with another."""


class DataError(UserError):
    """A benchmark or replies file is missing, altered or malformed."""


class ModelUnavailable(UserError):
    """The model cannot be found, fetched (gated, offline) or read."""


class DeviceError(UserError):
    """There is no usable device, or the model did not land where it belongs."""


class OutputError(UserError):
    """The run folder cannot be created or written (permissions, full disk)."""


class RunLocked(OutputError):
    """Another coordinator holds the run folder."""


class SandboxError(UserError):
    """The sandbox cannot start or keeps dying: no verdict can be given."""


class WorkerDied(SwarmevalError):
    """A worker ended, hung or ran out of memory; what it had not answered is unanswered."""


class WorkerGone(WorkerDied):
    """A worker was dead before it was asked: what it was asked is none of its doings."""
