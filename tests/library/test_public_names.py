"""The public names of `import swarmeval`: fixed, light, and the same in every list."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import swarmeval
from tests.support.checkout import ROOT

IMPORT_LIMIT_S = 0.05  # CPU time, since wall-clock time depends on other load
HEAVY = {"torch", "numpy", "scipy", "pandas", "pyarrow", "transformers"}

# Removing a name or a parameter, or changing a default, breaks other programs: a new major version.
SIGNATURES = {
    "AgentResult": "(agent_id, name, jobs, outcomes, output_tokens, retries, pass_at_1=None, interval=None)",
    "Candidate": "(code, error=None, outcome=None, note='')",
    "Case": "(stdin='', expected='', arguments=())",
    "Comparison": "(rule='tokens', tolerance=0.0, checker='')",
    "Executed": "(language, cases=(), comparison=Comparison(rule='tokens', tolerance=0.0, checker=''), files=(), "
    "timeout_s=None, memory_mb=None)",
    "Failure": "(job_id, reason, attempts, device='', finished_at=0.0, elapsed_s=0.0)",
    "Judge": "(*, eval_workers=None, eval_timeout=None, eval_timeout_scale=None, eval_memory_mb=None, "
    "sandbox_mode=None, languages=(), judge_python=None, use_black_formatting=False, accept_any_name=False)",
    "Judge.close": "(self)",
    "Judge.judge": "(self, text, task, form='reply')",
    "Judge.judge_all": "(self, texts, tasks, form='reply')",
    "Judge.judge_all_async": "(self, texts, tasks, form='reply')",
    "Judge.judge_async": "(self, text, task, form='reply')",
    "Judge.judge_completions": "(self, answers)",
    "Judge.start": "(self)",
    "Run": "(folder)",
    "Run.agents": "(self)",
    "Run.completions": "(self)",
    "Run.failures": "(self)",
    "Run.tasks": "(self)",
    "Run.to_pandas": "(self)",
    "Run.verdicts": "(self)",
    "Score": "(pass_at_k, intervals, undefined, tasks, replies, passed, outcomes, missing_tasks, verdicts)",
    "Suite": "(entry_point, text, context='')",
    "Task": "(task_id, prompt, suite, question='', preamble='', reference='', base=None, executed=None, "
    "answer='function', ending='', stops=None, infilling=False)",
    "TaskResult": "(task_id='', verdicts=0, passed=0, pass_at_1=None, outcomes=<factory>, missing=False)",
    "Verdict": "(job_id, outcome, code, detail='', judge_s=0.0, note='', base=None, unconfirmed=False, shared=False)",
    "bootstrap_interval": "(values)",
    "compare": "(one, other)",
    "extract": "(reply, task, form='reply', *, use_black_formatting=False, accept_any_name=False)",
    "load_tasks": "(benchmark='humaneval', *, file=None, limit=None, task_ids=None, released=None, judge_python=None)",
    "mean_pass_at_k": "(counts, k)",
    "pass_at_k": "(n, c, k)",
    "pass_at_k_interval": "(counts, k)",
    "score": "(replies, tasks='humaneval', *, missing='warn', judge=None)",
    "wilson_interval": "(passed, total)",
}
WITHOUT_SIGNATURE = {  # exceptions, and records of which programs only read the fields
    "Completion", "ConfigError", "DataError", "Outcome", "OutputError", "Paired", "SandboxError", "SwarmevalError",
    "UserError", "__version__",
}  # fmt: skip


def signature(name: str) -> str:
    """The parameters of a public name, without types."""
    found: object = swarmeval
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    bare = inspect.signature(found)
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in bare.parameters.values()]
    return str(bare.replace(parameters=parameters, return_annotation=bare.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_keeps_its_parameters(name: str) -> None:
    assert signature(name) == SIGNATURES[name]


def test_the_public_names_are_these() -> None:
    listed = {name.partition(".")[0] for name in SIGNATURES} | WITHOUT_SIGNATURE
    assert set(swarmeval.__all__) == listed
    methods = {
        f"{kind.__name__}.{name}"
        for kind in (swarmeval.Judge, swarmeval.Run, swarmeval.Score)
        for name, found in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }
    assert methods == {name for name in SIGNATURES if "." in name}


def test_type_checkers_see_the_names_that_programs_see() -> None:
    tree = ast.parse((ROOT / "swarmeval/__init__.py").read_text(encoding="utf-8"))
    typed = next(node for node in tree.body if isinstance(node, ast.If))
    found: dict[str, tuple[str | None, str]] = {}
    for node in typed.body:
        assert isinstance(node, ast.ImportFrom)
        found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    assert sorted(found) == sorted(swarmeval.__all__)
    for name, (module, attribute) in found.items():
        assert getattr(swarmeval, name) is getattr(sys.modules[str(module)], attribute)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match=r"^module 'swarmeval' has no attribute 'jugde'$"):
        _ = swarmeval.jugde  # type: ignore[attr-defined]


def test_every_public_name_is_described() -> None:
    named = [getattr(swarmeval, name) for name in swarmeval.__all__ if name != "__version__"]
    methods = [getattr(swarmeval.Judge, name) for name in dir(swarmeval.Judge) if not name.startswith("_")]
    methods += [getattr(swarmeval.Run, name) for name in dir(swarmeval.Run) if not name.startswith("_")]
    undescribed = [found for found in (*named, *methods) if not (found.__doc__ or "").strip()]
    assert undescribed == []


def test_every_public_name_is_in_the_manual() -> None:
    page = (ROOT / "docs/library.md").read_text(encoding="utf-8")
    assert [name for name in swarmeval.__all__ if not re.search(rf"\b{name}\b", page)] == []


def in_new_process(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_swarmeval_is_light() -> None:
    seconds, *modules = in_new_process(
        "import sys, time; start = time.process_time(); import swarmeval; "
        "print(time.process_time() - start, *[name for name in sys.modules])"
    )
    assert float(seconds) < IMPORT_LIMIT_S
    assert HEAVY.isdisjoint(modules)
    assert [name for name in modules if name.startswith("swarmeval.")] == []


@pytest.mark.slow
def test_no_name_but_to_pandas_imports_a_heavy_library() -> None:
    modules = in_new_process("import sys; from swarmeval import *; print(*sys.modules)")
    assert "swarmeval.library.judge_thread" in modules
    assert HEAVY.isdisjoint(modules)


def test_the_types_are_marked_as_complete() -> None:
    assert Path(str(swarmeval.__file__)).with_name("py.typed").is_file()
