"""Rows in BigCodeBench's form: one made up, which needs only the standard library, and those of a published sample."""

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.checkout import ROOT

SAMPLE = ROOT.parent / "shared" / "data" / "executed" / "bigcodebench.jsonl"  # in another form
DOWNLOADS = {f"BigCodeBench/{number}" for number in (101, 1005, 1006, 1012)}  # tasks that need the network
SIGNATURE = "import json\nfrom random import shuffle\n\ndef task_func(text, default=None):\n"
DOCSTRING = '    """\n    Read a JSON object and return its sum.\n\n    Requirements:\n    - json\n    """\n'
BODY = "    numbers = json.loads(text)\n    return sum(numbers.values())\n"
TESTS = """\
import unittest
from unittest.mock import patch
class TestCases(unittest.TestCase):
    def setUp(self):
        print("a test begins")
    def test_sum(self):
        self.assertEqual(task_func('{"a": 1, "b": 3}'), 4)
    def test_error_of_a_patched_name(self):
        with patch("json.loads", side_effect=KeyError("a")), self.assertRaises(KeyError):
            task_func("")
"""
ROW = {
    "task_id": "BigCodeBench/9999",
    "complete_prompt": SIGNATURE + DOCSTRING,
    "instruct_prompt": f"Read a JSON object.\\nYou should start with:\\n```\\n{SIGNATURE}```\\n",
    "canonical_solution": BODY,
    "code_prompt": SIGNATURE,
    "test": TESTS,
    "entry_point": "task_func",
    "doc_struct": "{}",
    "libs": "['json', 'random']",
}


def written(folder: Path, *rows: dict[str, Any]) -> str:
    """The path of a file with these rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sample_rows() -> Iterator[dict[str, Any]]:
    """The published sample's rows whose packages this interpreter has, in the form of the hub."""
    for row in map(json.loads, SAMPLE.read_text(encoding="utf-8").splitlines()):
        prompt = row["content"]
        wanted = re.findall(r"^(?:from|import) (\w+)", prompt + row["test"], re.MULTILINE)
        if all(importlib.util.find_spec(name) for name in wanted):
            yield ROW | {
                "task_id": row["id"],
                "complete_prompt": prompt,
                "code_prompt": re.sub(r'\n    """.*"""\s*\Z', "\n", prompt, flags=re.DOTALL),
                "canonical_solution": row["canonical_solution"],
                "test": row["test"],
                "entry_point": json.loads(row["labels"])["entry_point"],
            }
