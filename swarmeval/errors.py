"""The project's exceptions, in one tree.

    SwarmevalError
    ├── UserError               the user must change something: one line, exit code 2
    │   ├── ConfigError         a setting, flag or YAML file
    │   ├── DataError           a benchmark or replies file
    │   ├── ModelUnavailable    the model cannot be found, downloaded or read
    │   ├── DeviceError         no usable device, or the model is not on it
    │   ├── OutputError         the run folder cannot be read or written
    │   │   └── RunLocked       another coordinator uses it
    │   └── SandboxError        programs cannot be run here
    └── WorkerDied              a worker process ended, hung or ran out of memory: its jobs return to the queue
        └── WorkerGone          it was dead before it got these jobs

All other exceptions are bugs and keep their traceback.
"""

from swarmeval.secrets import scrub


class SwarmevalError(Exception):
    """Base class. str() is one line without secrets: where, what was found, and what to do."""

    def __str__(self) -> str:
        return scrub(super().__str__())  # messages often include texts of libraries


class UserError(SwarmevalError):
    """The user must change something. Finished work is kept, and the run can be resumed."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, out of range, or in conflict with another."""


class DataError(UserError):
    """A benchmark or replies file is missing, altered or malformed."""


class ModelUnavailable(UserError):
    """The model cannot be found, downloaded (gated, offline) or read."""


class DeviceError(UserError):
    """There is no usable device, or the model is not on the expected one."""


class OutputError(UserError):
    """The run folder cannot be created, read or written (permissions, full disk)."""


class RunLocked(OutputError):
    """Another coordinator has locked the run folder."""


class SandboxError(UserError):
    """The sandbox cannot start or keeps crashing, so nothing can be judged."""


class WorkerDied(SwarmevalError):
    """A worker ended, hung or ran out of memory. Its unfinished jobs remain unanswered."""


class WorkerGone(WorkerDied):
    """A worker was dead before it received these jobs, so they did not cause its death."""
