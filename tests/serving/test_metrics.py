"""The numbers under /metrics, as replies arrive."""

from swarmeval.requests import Reply
from swarmeval.serving.metrics import ServerMetrics
from swarmeval.serving.pool import Pool
from tests.support.echo_fleet import EchoFleet, EchoWorker


def metrics_after(*computed: int | None) -> str:
    """The metrics after replies of ten tokens each, of which so many were computed."""
    metrics = ServerMetrics(Pool(EchoFleet([EchoWorker("cpu:0")]), 10))
    for tokens in computed:
        metrics.reply(Reply("job", "text", 3, 10, 0.0, 0.1, 0.2, "stop", computed_tokens=tokens))
    return metrics.text().decode()


def test_computed_tokens_are_counted_beside_delivered_ones() -> None:
    text = metrics_after(10, 4, 0)
    assert "\nswarmeval_output_tokens_total 30.0\n" in text
    assert "\nswarmeval_computed_tokens_total 14.0\n" in text


def test_a_replica_that_does_not_count_computed_tokens_shows_none() -> None:
    text = metrics_after(None, None)
    assert "\nswarmeval_output_tokens_total 20.0\n" in text
    assert "computed" not in text
