"""Tables of answers and of runs: pandas, pyarrow and a Markdown parser read them back."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
from markdown_it import MarkdownIt

from swarmeval.exports import csv_table, parquet
from swarmeval.exports.answer_rows import COLUMNS, rows
from swarmeval.exports.exported_run import ExportedRun, read
from swarmeval.exports.latex import latex
from swarmeval.exports.markdown import markdown
from tests.support.exported_runs import mixed_run, whole_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[ExportedRun]:
    made = tmp_path_factory.mktemp("made")
    return [read(mixed_run(made / "mixed_a&b")), read(whole_run(made / "whole"))]


def test_a_row_says_what_was_measured_and_nothing_else(runs: list[ExportedRun]) -> None:
    first, _, empty, failed = rows(runs[0])
    assert list(first) == list(COLUMNS)
    assert (first["outcome"], first["passed"], first["latency_s"], first["ttft_s"]) == ("PASSED", True, 2.0, 1.0)
    assert (first["computed_tokens"], first["reasoning"], first["agent_name"]) == (None, None, None)
    assert (empty["outcome"], empty["passed"], empty["completion"]) == ("EMPTY", False, "")
    assert (failed["outcome"], failed["passed"], failed["detail"]) == ("NOT_GENERATED", None, "the server said no")
    assert {failed[name] for name in ("reply", "completion", "latency_s", "output_tokens")} == {None}


@pytest.mark.slow
def test_pandas_reads_both_files_alike(runs: list[ExportedRun], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with (tmp_path / "answers.csv").open("w", newline="") as file:
        csv_table.write(runs, file)
    parquet.write(runs, tmp_path / "answers.parquet")
    table, typed = pandas.read_csv(tmp_path / "answers.csv"), pandas.read_parquet(tmp_path / "answers.parquet")
    assert table.shape == typed.shape == (4 + 164, len(COLUMNS))
    assert typed.groupby("folder")["passed"].sum().tolist() == [1, 82]
    assert table["completion"].fillna("").tolist() == typed["completion"].fillna("").tolist()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_parquet_has_types_and_nulls(runs: list[ExportedRun], tmp_path: Path) -> None:
    parquet.write(runs[:1], tmp_path / "answers.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "answers.parquet")
    assert str(table.schema.field("passed").type) == "bool"
    assert table["passed"].to_pylist() == [True, False, False, None]
    assert table["computed_tokens"].null_count == 4


def test_markdown_is_a_table_with_one_row_per_run(runs: list[ExportedRun]) -> None:
    parsed = MarkdownIt("commonmark").enable("table").parse(markdown(runs))
    cells = ["".join(child.content for child in token.children or ()) for token in parsed if token.type == "inline"]
    assert cells == [
        "Run", "Model", "Benchmark", "Tasks", "Answers", "pass@1 (95 % CI)",
        "mixed_a&b", "example/model*", "humaneval", "2 of 164", "3", "25.0 (0.0–50.0)",
        "whole", "example/model", "humaneval", "164", "164", "50.0 (42.4–57.6)",
        "* partial: some answers were not generated or not judged",
    ]  # fmt: skip


def test_latex_escapes_names_and_has_a_cell_per_column(runs: list[ExportedRun]) -> None:
    lines = latex(runs).splitlines()
    assert lines[1] == r"\begin{tabular}{lllrrr}"
    assert lines[5] == r"mixed\_a\&b & example/model* & humaneval & 2 of 164 & 3 & 25.0 (0.0--50.0) \\"
    assert lines[3].endswith(r"& pass@1 (95 \% CI) \\")
    assert lines[-2].startswith(r"\multicolumn{6}{l}{\footnotesize * partial:")
    assert latex(runs[1:]).splitlines()[1] == r"\begin{tabular}{llrrr}"


def test_names_add_no_markup(runs: list[ExportedRun]) -> None:
    name = "*[x](http://a) $y$ &lt; ~~z~~ `c`|<b>"
    named = [replace(run, model=name) for run in runs[1:]]
    (row,) = [
        line for line in MarkdownIt("commonmark").enable("table").render(markdown(named)).splitlines() if "z" in line
    ]
    assert row == "<td>*[x](http://a) $y$ &amp;lt; ~~z~~ `c`|&lt;b&gt;</td>"
    assert latex(named).splitlines()[5].startswith("{}*[x](http://a)")  # \\ would take the * for its own
