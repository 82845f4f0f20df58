"""The layering rules on small made-up projects: what each rule finds and how it reports it."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.floors import Tree, away_from_home, cycles, heavy_at_once, reachable, read, unplaced, upward


def house(root: Path, sources: Mapping[str, str]) -> Tree:
    """The tree of a small made-up project, given as file -> source."""
    for name, source in sources.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return read(root)


def test_an_import_from_above_is_named_with_its_line(tmp_path: Path) -> None:
    tree = house(
        tmp_path,
        {"low/plan.py": "def f():\n    from high import run\n", "high/run.py": "import low.plan\n"},
    )
    assert upward(tree, {"low": 2, "high": 5}) == [
        "low.plan:2 imports high.run, but low stands on floor 2 and high on 5"
    ]


def test_neighbours_on_one_floor_do_not_import_each_other(tmp_path: Path) -> None:
    tree = house(tmp_path, {"a.py": "from b import x\n", "b.py": "x = 1\n"})
    assert upward(tree, {"a": 1, "b": 1}) == ["a:1 imports b, but a stands on floor 1 and b on 1"]


def test_files_of_one_package_may_import_each_other_but_not_in_a_circle(tmp_path: Path) -> None:
    tree = house(tmp_path, {"p/a.py": "import p.b\n", "p/b.py": "import p.c\n", "p/c.py": "import p.a\n"})
    assert upward(tree, {"p": 1}) == []
    assert cycles(tree) == ["p.a -> p.b -> p.c -> p.a"]


def test_a_module_without_a_floor_is_told_where_to_get_one(tmp_path: Path) -> None:
    files = (
        "b.py",
        "rooms/__init__.py",
        "rooms/c.py",
        "swarmeval/one.py",
        "swarmeval/new/__init__.py",
        "swarmeval/new/d.py",
    )
    tree = house(tmp_path, {"a.py": "import b\n", **dict.fromkeys(files, "")})
    assert unplaced(tree, {"b": 0, "rooms": 1, "swarmeval": 0}) == [
        f"{module} has no floor: add its package to FLOORS in tests/support/floors.py, above all it imports"
        for module in ("a", "swarmeval.new.d")
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
