"""The rules of the floors, on small made-up projects: what each finds, and with which words."""

from collections.abc import Mapping
from pathlib import Path

from tests.test_layering import Tree, away_from_home, heavy_at_once, reachable, read, unplaced, upward


def house(root: Path, sources: Mapping[str, str]) -> Tree:
    """The tree of a small made-up project, given as file -> source."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read(root)


def test_an_import_from_above_is_named_with_its_line(tmp_path: Path) -> None:
    tree = house(
        tmp_path,
        {"bench/plan.py": "def f():\n    from commands import run\n", "commands/run.py": "import bench.plan\n"},
    )
    assert upward(tree, {"bench.plan": 2, "commands.run": 5}) == [
        "bench.plan:2 imports commands.run, but stands on floor 2 and commands.run on 5"
    ]


def test_neighbours_on_one_floor_do_not_import_each_other(tmp_path: Path) -> None:
    tree = house(tmp_path, {"a.py": "from b import x\n", "b.py": "x = 1\n"})
    assert upward(tree, {"a": 1, "b": 1}) == ["a:1 imports b, but stands on floor 1 and b on 1"]


def test_a_module_without_a_floor_is_told_where_to_get_one(tmp_path: Path) -> None:
    tree = house(tmp_path, {"a.py": "import b\n", "b.py": "", "rooms/__init__.py": "", "rooms/c.py": ""})
    assert unplaced(tree, {"b": 0}) == [
        f"{module} has no floor: add it to FLOORS in tests/test_layering.py, above all it imports"
        for module in ("a", "rooms.c")
    ]


def test_a_heavy_package_away_from_home_is_named(tmp_path: Path) -> None:
    tree = house(tmp_path, {"a.py": "def f():\n    import torch.nn\n", "b.py": "import torch\n"})
    assert away_from_home(tree, {"torch": {"b"}}) == ["a:2 imports torch, whose home is b"]


def test_torch_is_found_behind_an_import_inside_a_function(tmp_path: Path) -> None:
    tree = house(
        tmp_path,
        {
            "main.py": "def f():\n    import a\n",
            "a.py": "from typing import TYPE_CHECKING\nimport b\nimport c\nif TYPE_CHECKING:\n    import torch\n",
            "b.py": "from torch import nn\ndef g():\n    import torch\n",
            "c.py": "import torch\n",
        },
    )
    assert reachable(tree, "main", stop={"c"}) == {"main", "a", "b"}
    assert heavy_at_once(tree, reachable(tree, "main", stop={"c"})) == [
        "b:1 imports torch.nn as soon as it is imported, in the coordinator's process"
    ]
