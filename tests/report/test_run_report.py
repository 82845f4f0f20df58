"""The report page: how it describes a run from any files the run left, and that it contains no foreign markup."""

import base64
import hashlib
import html
import json
import logging
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.report.run_report import render, write
from swarmeval.runs.answer_index import AnswerIndex
from swarmeval.runs.journal import Journal
from swarmeval.runs.ledger import Ledger
from swarmeval.session.ending import page as made_page
from swarmeval.session.run_record import OpenRun
from swarmeval.session.session import make_report
from tests.support.command_line import SMOKE, swarmeval
from tests.support.pages import HOSTILE, visible_text
from tests.support.run_folders import Answer, answers, finished_run, leave, plan_of


def sections(page: str) -> list[str]:
    """The parts of the page. Each has an entry in the navigation, and each entry its part."""
    found = re.findall(r'<section id="(\w+)">', page)
    (nav,) = re.findall(r"<nav .*?</nav>", page, flags=re.DOTALL)
    assert re.findall(r'href="#(\w+)"', nav) == found
    return found


def test_the_top_shows_score_interval_what_ran_and_whether_that_is_all(tmp_path: Path) -> None:
    said = visible_text(render(finished_run(tmp_path, answers(("a", "b", "c", "d"), passes=3))))
    assert "example/model on humaneval 1 of 164 task, 4 agents, 4 answers 75.0 %" in said
    assert "pass@1 : the chance that one answer to a task passes the task's tests." in said
    assert "A different sample of similar tasks could plausibly give any score in this range." in said
    assert "complete All 4 answers were judged." in said


def test_replies_that_nobody_measured_have_no_latencies_costs_or_timeline(tmp_path: Path) -> None:
    config, plan = plan_of(1, 2)
    jobs = [plan.job(k).job_id for k in range(2)]
    leave(tmp_path, config, plan, [(Completion(job, "r"), Verdict(job, Outcome.PASSED, "")) for job in jobs])
    assert sections(render(tmp_path)) == ["score", "outcomes", "answers", "agreement", "manifest"]


def test_cut_replies_stand_beside_the_score_and_warn_if_many(tmp_path: Path) -> None:
    given: list[Answer] = [(replace(reply, finish_reason="length" if k == 0 else "stop"), verdict)
             for k, (reply, verdict) in enumerate(answers(("a", "b", "c", "d"), passes=2))
             if isinstance(reply, Completion)]  # fmt: skip
    said = visible_text(render(finished_run(tmp_path / "cut", given)))
    assert "cut replies 1 of 4 replies (25.0 %) was cut by the limit on tokens. The score depends on the limit" in said
    assert "pass@1 of finished replies 33.3 %" in said
    assert "Where replies were cut most often task cut replies share HumanEval/0 1 4 25.0 %" in said
    assert "agent cut replies share 0 1 1 100.0 %" in said
    unknown = visible_text(render(finished_run(tmp_path / "unknown", answers(("a", "b")))))
    assert "cut" not in unknown.partition("Outcomes")[0]


def test_every_outcome_has_its_row_tampered_among_them(tmp_path: Path) -> None:
    said = visible_text(render(finished_run(tmp_path, answers(("a", "b"), passes=1))))
    assert "PASSED 1 50.0 % All tests of the task passed" in said
    assert "TAMPERED 1 50.0 % The program interfered with its own judging" in said
    assert "NOT_GENERATED 0 0.0 %" in said


def test_a_traced_run_has_links_to_its_traces_and_no_other_has(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers())
    assert "trace.json" not in render(folder)
    for name in ("trace.json", "flame_cpu_0.html", "flame_coordinator.html"):
        (folder / name).write_text("")
    links = re.findall(r'<a href="([^"#]+)">', render(folder))
    assert links == ["trace.json", "flame_coordinator.html", "flame_cpu_0.html"]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"intervals": 1}, "Expected `object`, got `int` - at `$.intervals`"),
        ({"intervals": {}}, "Object missing required field `pass@1` - at `$.intervals`"),
        ({"pass@1": "much"}, "Expected `float | null`, got `str` - at `$.pass@1`"),
        ({"energy": []}, "Expected `object | null`, got `array` - at `$.energy`"),
        ({"rounds": [{}]}, "Object missing required field `round` - at `$.rounds[0]`"),
        ({"batch_audit": {"jobs": 2}}, "Object missing required field `replies_changed` - at `$.batch_audit`"),
    ],
)
def test_a_score_of_another_version_is_made_again_from_the_journal(
    tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    folder = finished_run(tmp_path, answers(("a", "b", "c", "d"), passes=3))
    score = json.loads((folder / "score.json").read_text())
    (folder / "score.json").write_text(json.dumps({**score, **changed}))
    said = visible_text(render(folder))
    assert "4 answers 75.0 %" in said
    note = f"score.json does not have the format of this version ({why}); the score was computed from the journal."
    assert note in html.unescape(said)


def test_a_latency_that_cannot_be_gives_no_section_of_latencies(tmp_path: Path) -> None:
    first, second = answers(("a", "b"))
    assert isinstance(first[0], Completion)
    folder = finished_run(tmp_path, [(replace(first[0], latency_s=-1.0), first[1]), second])
    assert sections(render(folder)) == [
        "score",
        "outcomes",
        "answers",
        "agreement",
        "time",
        "cost",
        "budgets",
        "manifest",
    ]


def test_a_manifest_that_holds_no_text_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["config"]["model_id"] = "half \ud800"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "half \\ud800" in write(folder).read_text(encoding="utf-8")


def test_failures_make_a_run_partial(tmp_path: Path) -> None:
    config, plan = plan_of(1, 2)
    leave(tmp_path, config, plan, [answers()[0], (Failure("1/HumanEval/0/0/0", "died", 3), None)])
    assert "partial 1 of 2 jobs got no completion; they are not counted as wrong answers." in visible_text(
        render(tmp_path)
    )


def test_an_unfinished_run_without_results_is_told_from_its_journal(tmp_path: Path) -> None:
    config, plan = plan_of(1, 4)
    leave(tmp_path, config, plan, answers(("a", "b"), passes=1), finished=False)
    said = visible_text(render(tmp_path))
    assert "50.0 %" in said
    assert "partial The run is not finished (still running or killed): 2 jobs are answered." in said


def test_an_unfinished_run_says_which_verdicts_it_lacks(tmp_path: Path) -> None:
    config, plan = plan_of(1, 4)
    [first, (second, _)] = answers(("a", "b"), passes=1)
    leave(tmp_path, config, plan, [first, (second, None)], finished=False)
    said = visible_text(render(tmp_path))
    assert "1 of them are not judged yet: slow programs, which pass less often, come last." in said


def test_a_line_that_is_being_written_is_left_for_the_next_report(tmp_path: Path) -> None:
    config, plan = plan_of(1, 4)
    leave(tmp_path, config, plan, answers(("a", "b"), passes=1), finished=False)
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"completion": {"job_id": "2/Human')
    assert "2 jobs are answered." in visible_text(render(tmp_path))


def test_a_run_that_has_answered_nothing_yet_has_a_page(tmp_path: Path) -> None:
    config, plan = plan_of(1, 1)
    leave(tmp_path, config, plan, [], finished=False)
    page = render(tmp_path)
    assert "No answer has been judged yet, so there is no score." in visible_text(page)
    assert sections(page) == ["score", "manifest"]


def test_a_published_score_stands_beside_a_whole_run(tmp_path: Path) -> None:
    config, plan = plan_of(164, 1, model_id="meta-llama/Llama-3.1-8B-Instruct")
    jobs = [plan.job(k).job_id for k in range(plan.total)]
    verdicts = [Verdict(job, Outcome.PASSED if k < 82 else Outcome.RAISED, "") for k, job in enumerate(jobs)]
    leave(tmp_path, config, plan, [(Completion(v.job_id, "r"), v) for v in verdicts])
    said = visible_text(render(tmp_path))
    assert "EvalPlus 69.5 % -19.5 points" in said
    assert "do_sample: True here, False there" in said


def test_repairs_profiles_and_the_one_by_one_table_show_where_they_exist(tmp_path: Path) -> None:
    agents = ({"name": "careful"}, {"name": "bold"})
    config, plan = plan_of(1, 0, agents=agents, max_repairs=1)
    leave(tmp_path, config, plan, answers(("a", "b"), passes=1))
    score = json.loads((tmp_path / "score.json").read_text())
    alone = {"jobs": 2, "avg_latency_s": 3.0, "tokens_per_s": 4.0, "replies_changed": 1, "verdicts_changed": 0}
    energy = {"joules": 100.0, "joules_above_idle": 60.0, "source": "nvml"}
    (tmp_path / "score.json").write_text(json.dumps({**score, "batch_audit": alone, "energy": energy}))
    said = visible_text(render(tmp_path))
    assert "union: careful + bold" in said
    assert "after round" in said
    assert "time for all jobs 6 s (extrapolated) 3 s" in said
    assert "speed-up 2 times" in said
    assert "solved task 1 3 s 21 60 J" in said


def test_the_answers_that_repair_are_answers_that_cost(tmp_path: Path) -> None:
    config, plan = plan_of(1, 1, max_repairs=1)
    job = "0/HumanEval/0/0"
    leave(tmp_path, config, plan, [
        (Completion(f"{job}/0", "r", output_tokens=10, elapsed_s=3.0), Verdict(f"{job}/0", Outcome.RAISED, "")),
        (Completion(f"{job}/1", "r", output_tokens=20, elapsed_s=8.0), Verdict(f"{job}/1", Outcome.PASSED, "")),
    ])  # fmt: skip
    said = visible_text(render(tmp_path))
    assert "answer 2 4 s 15 not measured" in said
    assert "passing answer 1 8 s 30 not measured" in said
    assert "solved task 0 none none none" in said


def test_an_agent_is_on_the_map_whatever_its_number(tmp_path: Path) -> None:
    job = "500/HumanEval/0/0/0"
    config, plan = plan_of(1, 501)
    leave(tmp_path, config, plan, [(Completion(job, "r"), Verdict(job, Outcome.PASSED, ""))], finished=False)
    assert list(AnswerIndex(tmp_path, 164).locations) == [job]


def test_replies_and_all_that_comes_from_files_are_text(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers(HOSTILE), model_id="<i>model</i>")
    page = render(folder)
    for fragment in ("<i>model", "<img", "document.title", "alert(", "<b>bold", "<!--"):
        assert fragment not in page
    assert "{{ 7" not in page
    assert page.count("</script>") == page.count("<script")


def test_the_page_may_run_its_own_script_alone_and_load_nothing(tmp_path: Path) -> None:
    page = render(finished_run(tmp_path, answers()))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    marks = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{marks[0]}'; script-src 'sha256-{marks[1]}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert "innerHTML" not in page
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page) == []


def test_prompts_of_data_that_is_not_the_runs_are_not_shown(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["sha256"] = "other"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    said = visible_text(render(folder))
    assert (
        "Prompts, tests and references are not shown: the run used a different version of the data of humaneval."
        in said
    )


def test_a_report_is_replaced_and_leaves_no_draft(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, answers())
    before = set(folder.iterdir())
    page = write(folder)
    write(folder)
    assert set(folder.iterdir()) - before == {page}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({}, "{folder}: not a run folder (no manifest.json)"),
        ({"manifest.json": "{"}, "{folder}/manifest.json: cannot be read (Expecting property name enclosed in double "
         "quotes: line 1 column 2 (char 1)); move the file away"),
        ({"score.json": "{"},
         "{folder}/score.json: not a valid score (Input data was truncated); move the file away"),
        ({"journal.jsonl": "no\n"}, "{folder}/journal.jsonl, line 1: not a journal line (Input data "
         "was truncated); start over with --fresh"),
        ({"journal.jsonl": '{"failure":{"job_id":"0/x/0/","reason":"r","attempts":1}}\n'},
         "{folder}/journal.jsonl: contains an invalid job (invalid literal for int() with base 10: ''); "
         "start over with --fresh"),
    ],
)  # fmt: skip
def test_a_folder_without_a_run_is_refused_in_one_line(tmp_path: Path, spoil: dict[str, str], said: str) -> None:
    folder = finished_run(tmp_path / "run", answers()) if spoil else tmp_path / "nowhere"
    for name, text in spoil.items():
        (folder / name).write_text(text)
    code, out, err = swarmeval("report", str(folder))
    assert (code, out, err) == (2, "", f"swarmeval: {said.format(folder=folder)}\n")


@pytest.mark.slow
def test_a_run_ends_with_its_report_and_report_makes_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, _, err = swarmeval(*SMOKE, "audit.jobs=2", "--num_tasks", "3", "--num_agents", "2",
                             "--output_dir", str(folder))  # fmt: skip
    assert code == 0, err
    page = folder / "report.html"
    assert "speed-up" in visible_text(page.read_text(encoding="utf-8"))
    page.unlink()
    code, out, _ = swarmeval("report", str(folder))
    assert (code, out) == (0, f"{page}  ({page.stat().st_size / 1e6:.2f} MB)\n")


def test_a_fault_of_ours_in_a_page_is_named_and_its_traceback_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def write() -> Path:
        raise KeyError("agent")

    with caplog.at_level(logging.INFO):
        assert made_page("report.html", tmp_path, write) is None
    kept, said = caplog.records
    assert (kept.levelname, kept.exc_info and kept.exc_info[0]) == ("INFO", KeyError)
    assert said.levelname == "WARNING"
    assert said.message == (
        f"report.html was not written: KeyError: 'agent'; to write it later: python main.py report {tmp_path}"
    )


def test_a_report_that_fails_is_a_line_in_the_log_and_no_failed_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, plan = plan_of(1, 1)
    leave(tmp_path, config, plan, answers())
    (tmp_path / "report.html").mkdir()
    with Journal(tmp_path) as journal:
        make_report(OpenRun(tmp_path, {}, journal, Ledger(plan), resumed=False))
    assert caplog.messages == [
        f"report.html was not written: {tmp_path}/report.html: cannot be written (Is a directory); fix this or choose "
        f"another --output_dir; to write it later: python main.py report {tmp_path}"
    ]
