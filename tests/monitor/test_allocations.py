"""Lines that hold memory: found, named and assigned to their functions."""

from pathlib import Path

from swarmeval.monitor.allocations import Allocations, display_name, function_at
from tests.support.faulty_server import FaultyServer

HERE = "tests/monitor/test_allocations.py"
MIB = 1 << 20


def test_the_moment_of_most_memory_is_kept_and_its_line_named() -> None:
    with Allocations() as seen:
        held = bytearray(8 * MIB)
        seen.look()
        del held
        seen.look()
        assert seen.lines[0][0] == HERE
        assert seen.lines[0][2] >= 8 * MIB
    function, size = seen.functions()[0]
    assert function == f"{HERE}: test_the_moment_of_most_memory_is_kept_and_its_line_named"
    assert size >= 8 * MIB


def test_a_line_belongs_to_the_innermost_definition() -> None:
    line = FaultyServer.__aenter__.__code__.co_firstlineno + 1
    assert function_at("tests/support/faulty_server.py", line) == "FaultyServer.__aenter__"
    assert function_at("tests/support/faulty_server.py", 1) == "module level"


def test_files_are_named_as_people_know_them() -> None:
    assert display_name(str(Path(__file__))) == HERE
    assert display_name("/somewhere/lib/python3.11/site-packages/scipy/stats/a.py") == "scipy/stats/a.py"
    assert display_name("/somewhere/lib/python3.11/json/decoder.py") == "json/decoder.py"
    assert display_name("<frozen importlib>") == "<frozen importlib>"
