"""The report of a load run: it can be rebuilt from the run's files at any time, whatever they contain."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from swarmeval.errors import OutputError
from swarmeval.loadtest import facts as load_facts
from swarmeval.loadtest.facts import LevelFacts, LoadFacts, Memory
from swarmeval.loadtest.law import NAME as LAW
from swarmeval.loadtest.report import NAME, write
from swarmeval.records import Completion, Outcome, Verdict
from tests.support.checkout import ROOT
from tests.support.command_line import swarmeval
from tests.support.made_up_load import FACTS, closed_loop, leave, row
from tests.support.pages import HOSTILE, visible_text
from tests.support.run_folders import BEGAN, plan_of
from tests.support.run_folders import leave as leave_run

pytestmark = pytest.mark.slow  # imports scipy and statsmodels, and draws samples for each p


def page_of(folder: Path) -> str:
    return html.unescape(visible_text(write(folder).read_text(encoding="utf-8")))


def test_the_page_states_workload_speed_and_completeness(tmp_path: Path) -> None:
    said = page_of(leave(tmp_path, [*closed_loop(60), *closed_loop(60, clients=4, slowdown=2.0)], FACTS))
    assert "example/model, served 120 requests for numpy, seaborn, torch, 2 load levels" in said
    assert " at 1 at once, 59 answers, counted from the intended start of a request." in said
    assert "Peak throughput: " in said
    assert "complete All 120 requests were answered." in said
    assert "Goodput: answers per second with TTFT 0.5 s and TPOT 50 ms or less." in said
    assert "All answers: " in said
    assert "An undisturbed request: " in said
    assert "p99.9 needs at least 1,000 values; there are 59" in said
    assert "Run 20270115-080000-abcdef." in said


def test_quality_memory_and_flame_graphs_are_shown_if_measured(tmp_path: Path) -> None:
    (tmp_path / "flame_pipeline.html").write_text("")
    page = write(leave(tmp_path, closed_loop(30), FACTS)).read_text(encoding="utf-8")
    said = visible_text(page)
    assert "Quality of the tests package functions line coverage passing numpy 12 25.0 % undefined" in said.replace(
        "\xa0", " "
    )
    assert "4.00 MiB at the peak, by a test." in said
    assert "serving/pipeline.py:40 3.00 MiB 75.0 %" in said.replace("\xa0", " ")
    assert "ask 2.00 MiB" in said
    assert re.findall(r'<a href="([^"#]+)">', page) == ["flame_pipeline.html"]
    assert re.findall(r'<a href="#(\w+)">', page) == re.findall(r'<section id="(\w+)">', page)


def test_unmeasured_sections_are_left_out(tmp_path: Path) -> None:
    said = page_of(leave(tmp_path, closed_loop(30)))
    assert "A server under load 30 requests" in said
    assert "partial The run is not finished: 30 requests so far." in said
    assert "Goodput is undefined: no latency limits were set." in said
    assert "Errors None: every request was answered." in said
    for absent in ("Quality of the tests", "Memory per line", "Flame graphs", "Run ."):
        assert absent not in said


def test_failures_and_outliers_are_listed_with_their_reasons(tmp_path: Path) -> None:
    rows = [*closed_loop(60), row(70, at=900.0, error="429: no room"), row(71, at=950.0, latency_s=70.0, attempts=3)]
    said = page_of(leave(tmp_path, rows, FACTS))
    assert "partial 1 of 62 requests failed. Latencies exclude them." in said
    assert "1 429: no room" in said
    assert "numpy numpy.core f71 1 at once 71 70 s latency 100 / 40 sent 3 times" in said


def test_a_folder_without_a_counted_request_still_has_a_page(tmp_path: Path) -> None:
    assert "No request was answered." in page_of(leave(tmp_path / "none", []))
    assert "No request was answered." in page_of(leave(tmp_path / "one", [row(counts=False)]))
    assert "No request was answered." in page_of(leave(tmp_path / "failed", [row(error="500")]))


def test_the_report_command_recreates_json_and_page_from_the_files(tmp_path: Path) -> None:
    leave(tmp_path, closed_loop(60), FACTS)
    write(tmp_path)
    first = (tmp_path / LAW).read_bytes()
    for name in (LAW, NAME):
        (tmp_path / name).unlink()
    code, said, complaints = swarmeval("report", str(tmp_path))
    assert (code, complaints) == (0, "")
    assert said.startswith(f"{tmp_path / NAME}  (0.")
    assert (tmp_path / LAW).read_bytes() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["load.json", "load_facts.json", NAME, "requests.csv"]
    assert json.loads(first)["levels"][0]["groups"]["numpy"]["latency_s"]["p50"]["low"] > 0


def test_a_folder_that_holds_a_run_too_gets_both_pages(tmp_path: Path) -> None:
    config, plan = plan_of(1, 1)
    job = plan.job(0).job_id
    answer = Completion(job, "pass", prompt_tokens=9, output_tokens=4, latency_s=1.0, finished_at=BEGAN, elapsed_s=1.0)
    leave_run(tmp_path, config, plan, [(answer, Verdict(job, Outcome.PASSED, "", ""))])
    leave(tmp_path, closed_loop(20))
    code, said, complaints = swarmeval("report", str(tmp_path))
    assert (code, complaints) == (0, "")
    assert [line.split()[0] for line in said.splitlines()] == [str(tmp_path / NAME), str(tmp_path / "report.html")]


def test_neither_the_load_nor_another_runs_report_imports_statistics() -> None:
    program = (
        "import sys, swarmeval.commands.report\n"
        "import swarmeval.loadtest.generator, swarmeval.loadtest.request_rows, swarmeval.loadtest.facts\n"
        "print(sorted({'scipy', 'statsmodels', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_hostile_names_and_errors_stay_text(tmp_path: Path) -> None:
    rows = [row(k, at=2.0 * k, error=text, module=text, package=text) for k, text in enumerate(HOSTILE)]
    facts = LoadFacts(title=HOSTILE[0], settings={HOSTILE[1]: HOSTILE[0]}, worth={HOSTILE[1]: {HOSTILE[0]: HOSTILE[1]}},
                      levels=(LevelFacts("1 at once"),), memory=Memory(((HOSTILE[0], 1, 5),)))  # fmt: skip
    page = write(leave(tmp_path, [*closed_loop(40), *rows], facts)).read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert "<img" not in page
    assert "default-src 'none'" in page


def test_facts_are_read_as_they_were_written_and_without_a_key(tmp_path: Path) -> None:
    load_facts.write(tmp_path, FACTS)
    assert load_facts.read(tmp_path) == FACTS
    load_facts.write(tmp_path, LoadFacts(settings={"api_key": "sk-abcdefghijklmnopqrstuvwxyz0123456789"}))
    assert "abcdefghijklmnop" not in (tmp_path / load_facts.NAME).read_text()


def test_invalid_facts_are_reported_in_one_line(tmp_path: Path) -> None:
    leave(tmp_path, closed_loop(5))
    (tmp_path / load_facts.NAME).write_text('{"title": 3}')
    path = re.escape(str(tmp_path / load_facts.NAME))
    with pytest.raises(
        OutputError, match=f"^{path}: not a valid load_facts.json \\(Expected `str`, got `int` - at `\\$.title`\\)"
    ):
        write(tmp_path)
