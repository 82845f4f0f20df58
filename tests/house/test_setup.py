"""scripts/setup without network: packages are wheels made by the tests, Pythons are wrappers and fakes."""

import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from swarmeval.engine import bundled_model
from tests.support.checkout import Checkout

REAL_PYTHON = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
SHIM = "#!/bin/sh\necho 'not installed' >&2\nexit 127\n"
UNREACHABLE = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:1", "PIP_RETRIES": "1"}


def python_says(version: str, ensurepip: bool = True) -> str:
    """A fake Python that reports this version, and whether it can create virtual environments."""
    return f'#!/bin/sh\ncase "$*" in *version_info*) echo {version};; *ensurepip*) exit {int(not ensurepip)};; esac\n'


def make_wheel(folder: Path, name: str, needs: str = "") -> None:
    """A wheel of one empty module; `needs` is a dependency that it declares."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def ready(checkout: Checkout) -> Checkout:
    """A checkout whose setup can succeed. The PATH has a dead shim and an old Python before the usable python3."""
    checkout.command("python3.13", SHIM)
    checkout.command("python3.12", python_says("3.9.1"))
    checkout.command("python3", REAL_PYTHON)
    for name, needs in (("torch", ""), ("model", "compiles_for_minutes"), ("tester", ""), ("cluster", "")):
        make_wheel(checkout.wheels, name, needs)
    checkout.write("requirements.txt", "torch==1.0\n")
    checkout.write_bundled("model==1.0")
    checkout.write_extras(dev=["tester==1.0"], ray=["cluster>=1.0,<2"])
    return checkout


def test_setup_without_python_says_so_in_one_line(checkout: Checkout) -> None:
    run = checkout.run("scripts/setup")
    assert run.stderr == (
        "scripts/setup: needs Python 3.11 or newer, found none; install one, or name one with PYTHON=...\n"
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert not (checkout.root / ".venv").exists()


def test_setup_with_an_old_python_names_it(checkout: Checkout) -> None:
    path = checkout.command("python3", python_says("3.9.1"))
    run = checkout.run("scripts/setup")
    assert run.stderr == (
        f"scripts/setup: needs Python 3.11 or newer, found 3.9.1 ({path}); install one, or name one with PYTHON=...\n"
    )
    assert (run.returncode, run.stdout) == (2, "")


def test_a_python_named_by_the_user_is_refused_rather_than_replaced(checkout: Checkout) -> None:
    checkout.command("python3", python_says("3.12.1"))
    old = checkout.command("old", python_says("3.10.14"))
    run = checkout.run("scripts/setup", PYTHON=str(old))
    assert run.stderr == (
        f"scripts/setup: needs Python 3.11 or newer, found 3.10.14 ({old}); install one, or name one with PYTHON=...\n"
    )
    run = checkout.run("scripts/setup", PYTHON="nowhere")
    assert run.stderr == ("scripts/setup: PYTHON is 'nowhere', which is not a command; name a Python 3.11 or newer\n")
    assert run.returncode == 2


def test_setup_names_the_package_that_python_lacks(checkout: Checkout) -> None:
    path = checkout.command("python3", python_says("3.12.3", ensurepip=False))
    run = checkout.run("scripts/setup")
    assert run.stderr == (
        f"scripts/setup: {path} cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv\n"
    )
    assert (run.returncode, run.stdout) == (2, "")


def test_setup_says_how_much_disk_is_missing(checkout: Checkout) -> None:
    checkout.command("python3", python_says("3.12.3"))
    (checkout.bin / "df").unlink()
    checkout.command("df", "#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho /dev/sda 9000000 0 1572864\n")
    run = checkout.run("scripts/setup")
    assert run.stderr == (f"scripts/setup: needs about 4 GB of free disk, found 1.5 GB in {checkout.root.resolve()}\n")
    assert (run.returncode, run.stdout) == (2, "")


def test_setup_refuses_what_it_does_not_know(checkout: Checkout) -> None:
    run = checkout.run("scripts/setup", "--devel")
    assert (
        run.stderr == "scripts/setup: unknown argument '--devel'; usage: scripts/setup [--dev [--locked] | --score]\n"
    )
    assert run.returncode == 2


def test_setup_empties_nothing_that_another_folder_made(ready: Checkout, tmp_path: Path) -> None:
    others = tmp_path / "others"
    (others / "bin").mkdir(parents=True)
    (ready.root / ".venv").symlink_to(others)
    run = ready.run("scripts/setup")
    assert run.returncode == 2
    assert run.stderr.endswith(".venv is a link, and what it points to was not made for this folder; remove the link\n")
    assert (others / "bin").is_dir()


@pytest.mark.slow
def test_setup_installs_what_is_pinned_and_then_does_nothing(ready: Checkout) -> None:
    first = ready.run("scripts/setup")
    assert (first.returncode, first.stderr) == (0, "")
    assert ready.imports("torch", "model")  # but not the dependency of model
    stamp = ready.root / ".venv/setup.stamp"
    before = stamp.stat().st_mtime_ns
    second = ready.run("scripts/setup")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == before

    assert not ready.imports("tester")
    assert ready.run("scripts/setup", "--dev").returncode == 0
    assert ready.imports("tester", "cluster")
    make_wheel(ready.wheels, "added")
    ready.write("requirements.txt", "torch==1.0\nadded==1.0\n")
    changed = ready.run("scripts/setup")
    assert "making .venv" not in changed.stdout
    assert ready.imports("added")
    assert ready.run("scripts/setup", "--dev").stdout == ""  # dev packages stayed in step


@pytest.mark.slow
def test_what_scoring_needs_is_there_before_torch_and_stays_in_step(ready: Checkout) -> None:
    make_wheel(ready.wheels, "judge")
    ready.write("requirements.txt", "torch==1.0\njudge>=1.0,<2\n")
    assert "ready to score" in ready.run("scripts/setup", "--score").stdout
    assert ready.imports("judge")
    assert not ready.imports("torch")
    assert ready.run("scripts/setup", "--score").stdout == ""
    assert "ready in" in ready.run("scripts/setup").stdout
    assert ready.imports("judge", "torch", "model")
    assert ready.run("scripts/setup", "--score").stdout == ""  # a full installation includes it


@pytest.mark.slow
def test_locked_packages_have_the_hashes_of_the_lock(ready: Checkout) -> None:
    locked = {name: (ready.wheels / f"{name}-1.0-py3-none-any.whl").read_bytes() for name in ("tester", "cluster")}
    hashes = {name: hashlib.sha256(wheel).hexdigest() for name, wheel in locked.items()}
    lines = [f"{name}==1.0 --hash=sha256:{found}\n" for name, found in hashes.items()]
    ready.write("scripts/requirements.lock", "".join(lines).replace(hashes["tester"], "0" * 64))
    refused = ready.run("scripts/setup", "--dev", "--locked")
    assert refused.returncode == 2
    assert refused.stderr.startswith("scripts/setup: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE")
    ready.write("scripts/requirements.lock", "".join(lines))
    assert ready.run("scripts/setup", "--dev", "--locked").returncode == 0
    assert ready.imports("torch", "tester", "cluster", "model")
    for arguments in (["--dev", "--locked"], ["--dev"], []):
        assert ready.run("scripts/setup", *arguments).stdout == ""


@pytest.mark.slow
def test_a_change_of_the_extras_or_the_bundled_model_is_installed(ready: Checkout) -> None:
    assert ready.run("scripts/setup", "--dev").returncode == 0
    for name in ("linter", "larger"):
        make_wheel(ready.wheels, name)
    ready.write_extras(dev=["tester==1.0", "linter==1.0"], ray=["cluster>=1.0,<2"])
    assert ready.run("scripts/setup", "--dev").returncode == 0
    assert ready.imports("linter")
    ready.write_bundled("larger==1.0")
    assert ready.run("scripts/setup").returncode == 0
    assert ready.imports("larger")
    assert ready.run("scripts/setup", "--dev").stdout == ""


@pytest.mark.slow
def test_setup_takes_the_bundled_model_from_the_module_that_loads_it(ready: Checkout) -> None:
    ready.write("swarmeval/engine/bundled_model.py", Path(bundled_model.__file__).read_text(encoding="utf-8"))
    run = ready.run("scripts/setup")
    assert run.returncode == 2
    assert run.stderr.startswith(
        f"scripts/setup: No matching distribution found for {bundled_model.PINNED} (full log: "
    )


@pytest.mark.slow
def test_an_interrupted_or_moved_environment_is_made_again(ready: Checkout) -> None:
    ready.run("scripts/setup")
    (module,) = (ready.root / ".venv/lib").glob("*/site-packages/torch.py")
    module.unlink()
    (ready.root / ".venv/setup.stamp").write_text("installing\n", encoding="utf-8")
    repaired = ready.run("scripts/setup")
    assert "making .venv" in repaired.stdout
    assert ready.imports("torch", "model")

    ready.root = ready.root.rename(ready.root.with_name("moved"))
    moved = ready.run("scripts/setup")
    assert "making .venv" in moved.stdout
    assert str(ready.root.resolve()) in (ready.root / ".venv/bin/pip").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.slow
def test_two_setups_at_once_install_once(ready: Checkout) -> None:
    both = [ready.start("scripts/setup") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("making .venv" in out for out, _ in said) == 1
    assert ready.imports("torch", "model")


@pytest.mark.slow
def test_a_package_that_cannot_be_had_is_one_line_and_a_log(ready: Checkout) -> None:
    ready.write("requirements.txt", "nowhere==1.0\n")
    run = ready.run("scripts/setup")
    log = ready.root.resolve() / ".venv/setup.log"
    assert run.stderr == f"scripts/setup: No matching distribution found for nowhere==1.0 (full log: {log})\n"
    assert run.returncode == 2
    assert "$ pip install -r requirements.txt" in log.read_text(encoding="utf-8")

    run = ready.run("scripts/setup", **UNREACHABLE)
    assert run.stderr.startswith("scripts/setup: no network, pip cannot reach its package index: ")
    assert run.stderr.count("\n") == 1

    ready.write("requirements.txt", "torch==1.0\n")
    run = ready.run("scripts/setup")
    assert run.returncode == 0
    assert "making .venv" not in run.stdout  # pip failed before installing anything, so setup continues with this .venv


@pytest.mark.slow
def test_torch_alone_comes_from_the_index_the_user_names(ready: Checkout) -> None:
    index = ready.root.parent / "index"
    make_wheel(index / "torch", "torch")
    (index / "torch/index.html").write_text('<a href="torch-1.0-py3-none-any.whl">torch</a>', encoding="utf-8")
    (ready.wheels / "torch-1.0-py3-none-any.whl").unlink()
    run = ready.run("scripts/setup", SWARMEVAL_TORCH_INDEX=index.as_uri(), **UNREACHABLE)
    assert (run.returncode, run.stderr) == (0, "")
    assert ready.imports("torch", "model")
