"""Reports in a browser: runs to report, and actions on the map and the answer dialog."""

import re
from pathlib import Path

from swarmeval.records import Completion, Outcome, Verdict
from swarmeval.tasks.catalog import load
from tests.support.browser import Page
from tests.support.run_folders import BEGAN, Answer, leave, plan_of

OUTCOMES = tuple(Outcome)


def run_of_all_outcomes(folder: Path, tasks: int, agents: int, **settings: object) -> Path:
    """A finished run in which each agent has a different outcome. Passing programs are the reference solutions."""
    config, plan = plan_of(tasks, agents, **settings)
    references = {task.task_id: task.reference for task in load("humaneval").tasks}

    def answer(k: int) -> Answer:
        job = plan.job(k)
        outcome = OUTCOMES[(job.agent_id + job.sample) % len(OUTCOMES)]
        reference = references[job.task_id]
        code = reference if outcome is Outcome.PASSED else f"    return {job.agent_id}\n"
        tokens = 20 + 13 * k % 300
        completion = Completion(job.job_id, f"```python\n{code}```", prompt_tokens=50 + k % 7, output_tokens=tokens,
                                latency_s=0.2 + 0.02 * tokens, finished_at=BEGAN + k, elapsed_s=1.0 + k)  # fmt: skip
        return completion, Verdict(job.job_id, outcome, code, "why it ended so")

    leave(folder, config, plan, map(answer, range(plan.total)))
    return folder


def open_cell(shown: Page, row: int, agent: int) -> None:
    """Click the cell of an agent and HumanEval/<row>, and wait until the answer is shown."""
    name = f'[title^="HumanEval/{row} "]'
    shown.run(
        f"document.querySelector('.name{name}').closest('.row').querySelector('[data-agent=\"{agent}\"]').click()"
    )
    shown.until(f"document.getElementById('answer').open && document.getElementById('a-title').textContent === "
                f"'HumanEval/{row}, agent {agent}'")  # fmt: skip


def text_of(shown: Page, part: str) -> str:
    """The text of a part of the open answer."""
    return str(shown.run(f"document.getElementById('a-{part}').textContent"))


def press(shown: Page, *keys: str) -> None:
    """Press keys as on a keyboard, including combinations such as "ctrl+End"."""
    for key in keys:
        control, name = key.startswith("ctrl+"), key.removeprefix("ctrl+")
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(name, 0)
        text = {"text": "\r"} if name == "Enter" else {}
        facts = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 2 if control else 0}
        shown.call("Input.dispatchKeyEvent", type="keyDown", **facts, **text)
        shown.call("Input.dispatchKeyEvent", type="keyUp", **facts)


def focused(shown: Page) -> str:
    """The focused element as a screen reader describes it."""
    return str(shown.run("document.activeElement.ariaLabel ?? document.activeElement.textContent"))


def colours_in(css: str, theme: str) -> dict[str, str]:
    """The named colours of a theme in a style sheet."""
    selector = ':root[data-theme="dark"]' if theme == "dark" else ":root"
    (block,) = re.findall(rf"^{re.escape(selector)} \{{(.*?)^\}}", css, flags=re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def contrast(one: str, other: str) -> float:
    """The WCAG 2.2 contrast ratio of two colours given as "#rrggbb"."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
