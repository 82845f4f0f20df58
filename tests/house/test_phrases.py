"""The phrase check finds what it forbids, in every kind of file, and nothing in plain sentences."""

import pytest

from scripts.phrases import PHRASES, files, findings


@pytest.mark.parametrize(
    "line",
    [
        "what a worker has of it is nobody's to end",
        "only then it has passed",
        "half of a surrogate pair, which is no text",
        "A row a package and kind of time",
        "those that are to be had",
        "a setting that is not heeded",
        "mend it, the same command resumes",
        "its thread is waited for by nobody; nobody waits for it",
        "this is none, but for one of them",
        "is no matter of taste",
    ],
)
def test_a_forbidden_phrase_is_found_and_replaced(line: str) -> None:
    found = list(findings("docs/page.md", f"A plain line.\n{line}\n"))
    assert found
    assert all(text.startswith("docs/page.md:2: '") and "; write: " in text for text in found)


@pytest.mark.parametrize(
    "line",
    [
        "a daemon thread: the interpreter does not wait for it at exit",
        "Only keep() may block.",
        "One row per package and timing",
        "programs run as nobody, in namespaces of their own; sandbox.mode is `none`",
        "there is no text in the reply; no module is loaded; None is returned",
        "fixed, recommended, amended",
    ],
)
def test_plain_sentences_pass(line: str) -> None:
    assert list(findings("a.py", line)) == []


def test_all_text_of_the_project_is_read() -> None:
    names = files()
    assert {"README.md", "main.py", "scripts/setup", "swarmeval/report/report.html.j2", "config/smoke.yaml"} <= set(
        names
    )
    assert len(PHRASES) > 15
