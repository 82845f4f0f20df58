"""Checks whether the judge separates correct from wrong solutions here, and whether the sandbox is secure."""

import asyncio
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from human_eval_runner import Judge, canonical_solutions, load_tasks, prepared_toolchains
from swarmeval.doctor import container, hostile
from swarmeval.doctor.finding import Finding
from swarmeval.doctor.hostile_programs import executed_finding
from swarmeval.doctor.mutants import mutant
from swarmeval.doctor.trivial_answers import TrivialAnswers, try_trivial
from swarmeval.errors import ConfigError, SandboxError, UserError
from swarmeval.records import Completion, Execution, Job, Outcome, Program, Task
from swarmeval.sandbox.calibration import Calibration, References
from swarmeval.sandbox.missing_layers import consequences, unblocked_acts
from swarmeval.sandbox.runner import Sandbox
from swarmeval.sandbox.toolchains import Toolchain
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.catalog import CUSTOM, HUMANEVAL, chosen

# Small limits suffice to show whether hostile programs are contained.
TIMEOUT_S, MEMORY_MB = 1.0, 256
LASTING = {"endless output", "endless raw output", "signals ignored", "sleep", "an endless finalizer"}
NAMED = 20  # tasks listed in one line
HOW_TO_GET = {
    "namespaces": "sudo sysctl user.max_user_namespaces=10000; Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0",
    "landlock": "needs Linux 5.13 or later, and landlock in the lsm= of its command line",
    "seccomp": "install libseccomp.so.2 (Debian: apt install libseccomp2)",
}


def findings(config: RunConfig) -> Iterator[Finding]:
    """Yield findings as they are made."""
    try:
        missing, in_force, calibration, wrong = asyncio.run(_try_judge(config))
    except SandboxError as error:
        yield Finding("judge", "UNFIT", str(error))
        return
    yield from layers(config, in_force, missing, container.confinement(Path("/"), os.environ))
    total = len(load_tasks())
    yield Finding(
        "judge",
        "ok",
        f"{total} of {total} canonical solutions pass in {calibration.cpu_s:.2g} s of CPU time; "
        f"time limit: {calibration.scale:g} x eval_timeout",
    )
    if wrong:
        yield Finding("mutants", "UNFIT", f"{len(wrong)} of {total} wrong solutions pass: {', '.join(wrong[:5])}")
    else:
        yield Finding("mutants", "ok", f"0 of {total} solutions with a wrong constant or operator pass")
    yield from benchmark(config)
    if missing or config.sandbox.mode == "none":
        yield Finding("hostile", "note", "not tried: with layers missing, some hostile programs would succeed")
    else:
        yield from asyncio.run(_hostile_findings(config))
        yield from executed_programs(config)


def executed_programs(config: RunConfig) -> Iterator[Finding]:
    """Try hostile programs in the languages of the benchmark's executed tasks."""
    try:
        toolchains = prepared_toolchains(chosen(config).tasks, config.judge_python)
    except UserError:
        return  # the finding "tasks" gives the reason
    if toolchains:
        yield asyncio.run(executed_finding(toolchains, config.eval_workers, config.sandbox.mode))


def benchmark(config: RunConfig) -> Iterator[Finding]:
    """Check that the toolchains are installed, that reference solutions pass, and that trivial answers do not."""
    try:
        tasks = chosen(config).tasks
    except UserError:
        return  # the finding "tasks" gives the reason
    try:
        toolchains = prepared_toolchains(tasks, config.judge_python)
    except ConfigError as error:
        yield Finding("toolchains", "UNFIT", str(error), "scripts/toolchains installs all of them (as root)")
        return
    if toolchains:
        yield Finding("toolchains", "ok", ", ".join(found.version for found in toolchains.values()))
    try:
        references, trivial = asyncio.run(_try_benchmark(config, tasks, toolchains))
    except UserError as error:
        yield Finding("references", "UNFIT", str(error))
        return
    if references is not None:
        yield own_solutions(config, tasks, references)
    yield trivial_answers(config, tasks, trivial)


def own_solutions(config: RunConfig, tasks: Sequence[Task], references: References) -> Finding:
    tried = sum(1 for task in tasks if task.reference)
    failed = f"; failing: {', '.join(list(references.failed)[:5])}" if references.failed else ""
    return Finding(
        "references",
        "note" if failed else "ok",
        f"{tried - len(references.failed)} of {tried} reference solutions of {config.benchmark} pass{failed}",
        "these tasks are defective, or need more time or memory" if failed else "",
    )


def trivial_answers(config: RunConfig, tasks: Sequence[Task], trivial: TrivialAnswers) -> Finding:
    """Report tests that accept trivial answers. Custom tasks whose tests accept every value are refused."""
    untried = f"; could not be tried on {', '.join(trivial.untried[:5])}" if trivial.untried else ""
    of_all = f"of {len(tasks)} tasks of {config.benchmark} accept an answer such as [], None or the argument"
    if not trivial.accepted:
        return Finding("trivial", "note" if untried else "ok", f"the tests of 0 {of_all}{untried}")
    weak = [f"{task} ({', '.join(names[:3])})" for task, names in trivial.accepted.items()]
    more = f" and {len(weak) - NAMED} more" if len(weak) > NAMED else ""
    is_refused = config.benchmark == CUSTOM and trivial.accept_anything()
    return Finding(
        "trivial",
        "UNFIT" if is_refused else "note",
        f"the tests of {len(weak)} {of_all}: {', '.join(weak[:NAMED])}{more}{untried}",
        "make their tests compare the return value" if is_refused else "do not count a pass on these tasks as solved",
    )


async def _try_benchmark(
    config: RunConfig, tasks: Sequence[Task], toolchains: Mapping[str, Toolchain]
) -> tuple[References | None, TrivialAnswers]:
    """Try the reference solutions, unless the calibration already did, and trivial answers."""
    async with Judge(
        tasks, config.eval_workers, config.eval_timeout, config.eval_memory_mb, mode=config.sandbox.mode,
        toolchains=toolchains,
    ) as judge:  # fmt: skip
        references = await judge.try_references() if config.benchmark != HUMANEVAL else None
        return references, await try_trivial(config, judge, tasks, references.unconfirmed if references else ())


def layers(
    config: RunConfig, in_force: str, missing: dict[str, str], around: container.Confinement = container.UNCONFINED
) -> Iterator[Finding]:
    """Report the sandbox layers in force, and for each missing layer its consequences and how to get it."""
    if config.sandbox.mode == "none":
        yield Finding(
            "sandbox", "note", "none, as configured: programs run with your permissions", "set sandbox.mode: auto",
            "programs run without a sandbox, with your permissions",
        )  # fmt: skip
        return
    if missing:
        caveat = f"the sandbox lacks {', '.join(missing)}: {consequences(missing)}"
        yield Finding("sandbox", "note", in_force, caveat=caveat)
    else:
        yield Finding("sandbox", "ok", in_force)
    yield from container.findings(around, missing)
    for layer, reason in missing.items():
        acts = ", ".join(unblocked_acts([layer])) or "nothing by itself"
        remedy = container.remedy(layer, reason, around) or HOW_TO_GET.get(layer, "")
        yield Finding(layer, "note", f"missing ({reason}); not blocked: {acts}", remedy)
    if len(missing) > 1:
        yield Finding("together", "note", f"not blocked without these layers: {', '.join(unblocked_acts(missing))}")


async def _try_judge(config: RunConfig) -> tuple[dict[str, str], str, Calibration, list[str]]:
    """(missing layers, layers in force, calibration, tasks whose mutant passes). Raises SandboxError."""
    tasks, solutions = load_tasks(), canonical_solutions()
    async with Judge(
        tasks, config.eval_workers, config.eval_timeout, config.eval_memory_mb, mode=config.sandbox.mode
    ) as judge:
        calibration = await judge.calibrate()
        verdicts = await asyncio.gather(
            *(
                judge.judge(
                    Completion(Job(0, task.task_id, 0).job_id, mutant(task, solutions[task.task_id]), "solution")
                )
                for task in tasks
            )
        )
        wrong = [task.task_id for task, one in zip(tasks, verdicts, strict=True) if one.outcome is Outcome.PASSED]
        return judge.missing(), judge.in_force(), calibration, wrong


async def _hostile_findings(config: RunConfig) -> list[Finding]:
    """Run the hostile programs, and report those that the sandbox does not contain."""
    began = time.monotonic()
    async with Sandbox(config.eval_workers, TIMEOUT_S, MEMORY_MB, config.sandbox.mode) as sandbox:
        cheats = [Program(cheat, hostile.TESTS, "f") for cheat in hostile.CHEATS.values()]
        passed = [
            name
            for name, execution in zip(hostile.CHEATS, await _run(sandbox, cheats), strict=True)
            if execution.outcome is Outcome.PASSED
        ]
        escapes = await _run(sandbox, map(Program, hostile.ESCAPES.values()))
        out = [
            n for n, execution in zip(hostile.ESCAPES, escapes, strict=True) if execution.outcome is not Outcome.PASSED
        ]
        tried = {name: case for name, case in hostile.EXHAUSTION.items() if name not in LASTING}
        ends = await _run(sandbox, (Program(text) for text, _ in tried.values()))
        beyond = [
            n for (n, case), execution in zip(tried.items(), ends, strict=True) if execution.outcome not in case[1]
        ]
    seconds = time.monotonic() - began
    return [
        _sandbox_finding("cheats", passed, f"{len(cheats)} programs that fake a pass: none passes"),
        _sandbox_finding("escapes", out, f"{len(escapes)} attempts to escape: all blocked"),
        _sandbox_finding(
            "exhaustion", beyond, f"{len(tried)} resource exhaustion attempts: all limited ({seconds:.0f} s in total)"
        ),
    ]


async def _run(sandbox: Sandbox, programs: Iterable[Program]) -> Sequence[Execution]:
    return await asyncio.gather(*(sandbox.run(program) for program in programs))


def _sandbox_finding(subject: str, escaped: Sequence[str], text: str) -> Finding:
    if not escaped:
        return Finding(subject, "ok", text)
    return Finding(subject, "UNFIT", f"not contained: {', '.join(escaped)}", "report this as a bug in the sandbox")
