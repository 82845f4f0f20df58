"""Checksums of published files that have a name of their own. Of other files, the manifest records the checksum."""

import logging
from dataclasses import replace

from swarmeval.tasks.datasets import Dataset

# name -> sha256, from the GitHub repositories google-research/google-research, CodeEval-Pro/CodeEval-Pro (36f292e),
# facebookresearch/cruxeval (190faf1) and openai/human-eval-infilling (88062ff)
SHA256 = {
    "mbpp.jsonl": "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
    "humaneval_pro.json": "d67ad94366d8182804d8cb59de558d211072493b13a6c23ddda42a2e1367dc7a",
    "mbpp_pro.json": "bb2edf4f2da393403083977e94cb4e4bbbe68fcb85495dfdf500885a945e8b3b",
    "cruxeval.jsonl": "8368b81047dc5014e4caf5a2f97604eff7644e0ecd7415e3ceeb184bbc2e0c96",
    "HumanEval-SingleLineInfilling.jsonl.gz": "1277073e7ddce163ef68598c2bca777f688a53df99422f097e37362090f88e1f",
    "HumanEval-MultiLineInfilling.jsonl.gz": "2f341612eee1d35da1357a4f365e0c0b3ba6e2b62eb491e88aaefa4855af0349",
    "HumanEval-RandomSpanInfilling.jsonl.gz": "b4f330d8a8ff97bf85d9def497dffcae4d741e506449386a877236e422e33e8d",
    "HumanEval-RandomSpanInfillingLight.jsonl.gz": "1432250ecac0cb56e6f97f8faf0970419ef892a98fda7e1f5aa4c4b87209b760",
}

log = logging.getLogger("swarmeval")


def compared(dataset: Dataset) -> Dataset:
    """The dataset; with a note, which is logged too, if its file has a published name but other contents."""
    published = SHA256.get(dataset.path.name, dataset.sha256)
    if dataset.sha256 == published:
        return dataset
    said = f"not the published file of this name (sha256 {dataset.sha256[:12]}..., published {published[:12]}...)"
    log.warning("%s: %s; its score is not comparable", dataset.path, said)
    return replace(dataset, note=", ".join(filter(None, (said, dataset.note))))
