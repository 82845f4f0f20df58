"""Downloads models and dataset files from the Hugging Face hub into its local cache. Loads nothing."""

import json
import logging
import re
from pathlib import Path

from swarmeval.errors import DataError, ModelUnavailable

COMMIT = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger("swarmeval")

WEIGHTS = "*.safetensors"
MODEL_FILES = (WEIGHTS, "*.json", "tokenizer*", "*.model", "*.txt", "*.jinja")
CODE = "*.py"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")  # reading these can run arbitrary code
IGNORED_FILES = ("original/*", "*.pth")  # the vendor's own format, which doubles the download and is never read


def fetch(model_id: str, progress: bool, weights: bool = True, code: bool = False, revision: str | None = None) -> str:
    """Return the folder of a model, downloading files that are not cached. Without `weights`, weights are left out.

    The model's own Python code is downloaded only with `code`. `revision` is a commit, branch or tag; None: the main
    branch. Raises ModelUnavailable.
    """
    from httpx2 import HTTPError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    patterns = [pattern for pattern in (*MODEL_FILES, *([CODE] if code else [])) if weights or pattern != WEIGHTS]
    if not progress:
        disable_progress_bars()
    try:
        folder = snapshot_download(
            model_id, revision=revision, allow_patterns=patterns, ignore_patterns=list(IGNORED_FILES)
        )
    except HFValidationError as error:
        raise ModelUnavailable(f"{model_id}: neither a folder nor a hub name of the form owner/name") from error
    except (HTTPError, OSError) as error:  # every hub error is one of these two
        name = model_id if revision is None else f"{model_id} at revision {revision!r}"
        raise ModelUnavailable(
            _reason(model_id, error, "use a folder", "--config config/smoke.yaml", shown=name)
        ) from error
    finally:
        if not progress:
            enable_progress_bars()
    if weights:
        check_weights(model_id, Path(folder))
    return folder


def commit_of(folder: str) -> str | None:
    """The commit of a folder in the hub's cache; None for any other folder."""
    path = Path(folder)  # .../snapshots/<commit>
    return path.name if path.parent.name == "snapshots" and COMMIT.fullmatch(path.name) else None


def check_weights(model_id: str, folder: Path) -> None:
    """Raises ModelUnavailable if a folder has no safetensors weights, or its index names other files."""
    for index in sorted(folder.glob("*.index.json")):
        _check_index(model_id, index)
    if any(folder.glob(WEIGHTS)):
        return
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise ModelUnavailable(
            f"{model_id}: its weights are pickles ({pickles[0]}), which can run arbitrary code when they are read; "
            "save them as *.safetensors"
        )
    raise ModelUnavailable(f"{model_id}: has no *.safetensors weights, the only supported format")


def _check_index(model_id: str, index: Path) -> None:
    """Raises ModelUnavailable if a weight index names unsafe files, because loaders open any file that it names."""
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted({str(name) for name in files})
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelUnavailable(f"{model_id}: {index.name} is not a valid index of weights ({error})") from error
    for name in names:
        if not name.endswith(".safetensors") or Path(name).name != name:
            raise ModelUnavailable(
                f"{model_id}: {index.name} names {name!r}, which is not a *.safetensors file in the same folder; "
                "other files are not loaded"
            )


def fetch_file(dataset: str, file: str, instead: str) -> tuple[Path, str]:
    """Return (path of a dataset file, its commit), downloading the file if it is not cached.

    Raises DataError, which suggests `instead` as the remedy.
    """
    from httpx2 import HTTPError
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
    if try_to_load_from_cache(dataset, file, repo_type="dataset") is None:
        log.warning("datasets/%s: downloading %s from the hub", dataset, file)  # may take long to fail
    try:
        path = Path(hf_hub_download(dataset, file, repo_type="dataset"))
    except (HTTPError, OSError) as error:
        raise DataError(_reason(f"datasets/{dataset}", error, instead)) from error
    return path, path.parents[file.count("/")].name  # .../snapshots/<commit>/<file>


def _reason(name: str, error: Exception, instead: str, or_else: str = "", shown: str = "") -> str:
    """One line that says why the hub did not give a file of `name`, with the remedy."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        DisabledRepoError,
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__  # the hub answered before the cache was tried
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, GatedRepoError):
        return f"{name}: gated; accept its licence at {page}, then set HF_TOKEN to a token of that account"
    if isinstance(error, DisabledRepoError):
        return f"{name}: disabled by the hub; see {page}"
    if isinstance(error, RevisionNotFoundError):
        return f"{shown or name}: the model has no such revision; check model_revision"
    if isinstance(error, RepositoryNotFoundError):
        return f"{name}: not on the hub, or private; check the name, or set HF_TOKEN to a token that may read it"
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return f"{name}: no longer has that file; {instead}"
    if isinstance(error, HfHubHTTPError):
        return f"{name}: the hub answered with status {error.response.status_code}; try again later, or {instead}"
    if isinstance(error, LocalEntryNotFoundError) or not isinstance(error, OSError):
        ways = f"{instead}, or {or_else}" if or_else else instead
        return f"{shown or name}: not in the local cache, and the hub cannot be reached; {ways}"
    return f"{name}: cannot be stored under {constants.HF_HUB_CACHE}: {error.strerror or error}"
