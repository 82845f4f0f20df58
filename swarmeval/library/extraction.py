"""`swarmeval.extract`: the code in a reply."""

from swarmeval.extraction.candidate import candidate
from swarmeval.records import Candidate, Form, Task
from swarmeval.surrogates import note, without_lone


def extract(
    reply: str, task: Task, form: Form = "reply", *, use_black_formatting: bool = False, accept_any_name: bool = False
) -> Candidate:
    """Extract from a reply the code that a judge would run. Runs nothing; no text makes it raise an exception.

    Args:
        reply: The text of a model, with or without thoughts, prose and code fences.
        task: The task that the reply answers.
        form: "reply" for raw text, "completion" for code that continues `task.prompt`, "solution" for a whole program.
        use_black_formatting: Whether to format the code with black.
        accept_any_name: Whether to accept the only function of a reply if its name differs from the entry point.

    Returns:
        The code. `task.prompt + code + task.ending` is the program, without its tests; for an executed task, `code` is
        the whole program. `outcome` is None if it can run, otherwise EMPTY or BAD_SYNTAX, and `error` says why.
    """
    text, replaced = without_lone(reply)
    found = candidate(text, form, task, use_black_formatting, accept_any_name)
    if not replaced:
        return found
    return Candidate(found.code, found.error, found.outcome, f"{found.note}, {note(replaced)}")
