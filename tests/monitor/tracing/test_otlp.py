"""Claims about OpenTelemetry, with the real exporter and collectors on a loopback port that decode what they get."""

import itertools
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from swarmeval.monitor.tracing.otlp import open_trace, traces_url
from swarmeval.monitor.tracing.run_spans import Asked, ExportedSpans, RunSpans, make_spans
from swarmeval.monitor.tracking.subject import Subject
from swarmeval.monitor.tracking.tracker import QueuedTracker, Store
from swarmeval.records import Completion, Failure, Outcome, Verdict
from swarmeval.runs.plan import make_agents
from swarmeval.settings.run_config import RunConfig
from tests.support.command_line import SMOKE, swarmeval
from tests.support.echo_fleet import INFO
from tests.support.otlp_receiver import attributes, collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "planted0secret0value"


def exporting_to(endpoint: str) -> RunConfig:
    settings = {"opentelemetry": {"enabled": True, "endpoint": endpoint}, "agents": ({"name": "calm", "top_k": 7},)}
    return RunConfig.model_validate(settings)


def spans_to(endpoint: str, folder: Path, **environ: str) -> RunSpans:
    config = exporting_to(endpoint)
    return make_spans(config, folder, "run-7", {}, Asked(config, "some/model", make_agents(config)), environ)


def answer(job_id: str, now_s: float, **values: Any) -> Completion:
    counts = {"prompt_tokens": 12, "output_tokens": 34, "ttft_s": 0.5, "finish_reason": "stop", "device": "cpu:0"}
    return Completion(job_id, "x", latency_s=2.0, finished_at=now_s, **{**counts, **values})


def record(spans: RunSpans) -> None:
    """Record a small run."""
    now_s = time.time()
    spans.enter("prepare")
    spans.enter("load")
    spans.loaded("cpu:0", INFO)
    spans.judged("chat", answer("0/T/1/0/0", now_s + 60), Verdict("0/T/1/0/0", Outcome.PASSED, "", judge_s=0.25))
    wrong = Verdict("0/T/2/0/0", Outcome.RAISED, "", f"ValueError: api_key={SECRET}", judge_s=0.25)
    spans.judged("completion", answer("0/T/2/0/0", now_s + 60, output_tokens=0, ttft_s=0), wrong)
    spans.judged("chat", answer("0/T/3/0/0", now_s - 60), Verdict("0/T/3/0/0", Outcome.PASSED, ""))
    spans.failed("chat", Failure("0/T/4/0/0", "worker died", 3, finished_at=now_s))
    spans.enter("judge")
    spans.finish({"pass@1": 0.5})


@pytest.mark.slow
def test_a_run_is_one_trace_with_the_names_of_the_conventions(tmp_path: Path) -> None:
    with collector() as received:
        record(spans_to(received.url, tmp_path, TRACEPARENT=PARENT))
    assert received.paths == {"/v1/traces"}
    assert {span.trace_id.hex() for span in received.spans()} == {PARENT.split("-")[1]}
    (root,) = received.named("swarmeval run")
    assert root.parent_span_id.hex() == PARENT.split("-")[2]
    about = attributes(root)
    assert (about["swarmeval.run_id"], about["test.suite.name"], about["swarmeval.pass@1"]) == (
        "run-7", "humaneval", 0.5,
    )  # fmt: skip
    phases = [span for name in ("prepare", "load", "generate", "judge") for span in received.named(name)]
    phases = [span for span in phases if "swarmeval.phase" in attributes(span)]
    assert [span.name for span in phases] == ["prepare", "load", "generate", "judge"]
    assert {span.parent_span_id for span in phases} == {root.span_id}
    for before, after in itertools.pairwise(phases):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    (loaded,) = received.named("load replica")
    assert loaded.start_time_unix_nano == phases[1].start_time_unix_nano
    chat, failed = received.named("chat some/model")
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "swarmeval", "gen_ai.request.model": "some/model",
        "gen_ai.request.max_tokens": 512, "gen_ai.request.temperature": 0.25, "gen_ai.request.top_k": 7,
        "gen_ai.agent.name": "calm", "gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 34,
        "gen_ai.response.finish_reasons": ["stop"], "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.response.id": "0/T/1/0/0", "swarmeval.task_id": "T/1", "swarmeval.device": "cpu:0",
    }  # fmt: skip
    assert expected.items() <= attributes(chat).items()
    assert (chat.kind, chat.end_time_unix_nano - chat.start_time_unix_nano) == (3, pytest.approx(2e9, rel=1e-3))
    (event,) = chat.events
    assert event.name == "gen_ai.evaluation.result"
    assert attributes(event) == {
        "gen_ai.evaluation.name": "tests", "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "PASSED", "gen_ai.response.id": "0/T/1/0/0",
    }  # fmt: skip
    verdicts = [span for span in received.named("judge") if "test.case.name" in attributes(span)]
    assert [(attributes(span)["test.case.name"], span.parent_span_id) for span in verdicts] == [
        ("T/1", chat.span_id),
        ("T/2", received.named("text_completion some/model")[0].span_id),
        ("T/3", root.span_id),  # its answer belongs to an earlier session
    ]
    assert (failed.status.code, failed.status.message) == (2, "worker died")
    assert not any(SECRET in str(request) for request in received.requests)
    assert received.resource()["service.name"] == "swarmeval"


@pytest.mark.slow
def test_a_collector_that_refuses_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with collector(404) as received, caplog.at_level(logging.WARNING, "swarmeval"):
        record(spans_to(received.url, tmp_path))
    said = [message for message in caplog.messages if message.startswith("OpenTelemetry")]
    assert said == ["OpenTelemetry: Failed to export spans batch code: 404, reason: Not Found"]


@pytest.mark.slow
@pytest.mark.parametrize("status", [503, None])
def test_a_collector_that_hangs_holds_the_end_no_longer_than_the_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: int | None
) -> None:
    store = Store("OpenTelemetry", "the last spans were not sent", finish_limit_s=0.5)
    with collector(status) as received, caplog.at_level(logging.WARNING, "swarmeval"):
        config = exporting_to(received.url)
        subject = Subject(config, tmp_path, "run-7", {}, {})
        queue = QueuedTracker(store, lambda: open_trace(subject, time.time(), {}))
        assert queue.opened.wait(60)
        began = time.monotonic()
        record(ExportedSpans(Asked(config, "some/model"), queue))
        assert time.monotonic() - began < 0.5 + 2
    # Not always the last: the exporter, which still retries, complains when the collector ends.
    assert "OpenTelemetry takes too long; the last spans were not sent" in caplog.messages


def test_off_and_disabled_record_nothing(tmp_path: Path) -> None:
    assert type(spans_to("http://127.0.0.1:9", tmp_path, OTEL_SDK_DISABLED="true")) is RunSpans
    assert type(spans_to("http://127.0.0.1:9", tmp_path, OTEL_TRACES_EXPORTER="none")) is RunSpans
    config = RunConfig.model_validate({})
    assert type(make_spans(config, tmp_path, "r", {}, Asked(config, "m"), {})) is RunSpans


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, None),
        ("http://host:4318", "http://host:4318/v1/traces"),
        ("http://host:4318/", "http://host:4318/v1/traces"),
        ("https://host/api/otel/v1/traces", "https://host/api/otel/v1/traces"),
    ],
)
def test_an_endpoint_is_the_base_of_the_url(endpoint: str | None, url: str | None) -> None:
    assert traces_url(endpoint) == url


@pytest.mark.slow
def test_a_run_obeys_the_standard_variables_and_its_spans_match_its_score(tmp_path: Path) -> None:
    with collector() as received:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {SECRET}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_SERVICE_NAME": "nightly",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=ci",
        }
        words = [*SMOKE, "opentelemetry.enabled=true", "--num_agents", "2", "--num_tasks", "2", "--output_dir"]
        code, _, err = swarmeval(*words, str(tmp_path), env=environ)
    assert code == 0, err
    assert (received.resource()["service.name"], received.resource()["deployment.environment.name"]) == (
        "nightly", "ci",
    )  # fmt: skip
    assert {headers["authorization"] for headers in received.headers} == {f"Bearer {SECRET}"}
    assert len(received.named("chat scripted")) + len(received.named("text_completion scripted")) == 4
    assert len({span.trace_id for span in received.spans()}) == 1
    phases = {span.name for span in received.spans() if "swarmeval.phase" in attributes(span)}
    assert phases >= {"prepare", "load", "generate", "write", "report"}
    assert SECRET not in "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "OpenTelemetry" not in err
