"""The data sets of benchmarks on huggingface.co/datasets, as exports name them."""

from dataclasses import dataclass

from swarmeval.tasks.catalog import HUMANEVAL, REGISTRY

NO_CONFIG = ("data", "")  # folders of files that belong to the config "default"


@dataclass(frozen=True, slots=True)
class PublishedDataset:
    """A data set, and the config (subset) that holds a benchmark."""

    repo: str
    config: str


def published(benchmark: str) -> PublishedDataset | None:
    """The data set of a benchmark; None if it has none there. HumanEval is read from a package with the same rows."""
    if benchmark == HUMANEVAL:
        return PublishedDataset("openai/openai_humaneval", "openai_humaneval")
    found = REGISTRY.get(benchmark)
    if found is None or not found.repo:
        return None
    folder = found.file.rpartition("/")[0]
    return PublishedDataset(found.repo, "default" if folder in NO_CONFIG else folder)
