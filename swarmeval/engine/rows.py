"""The rows of a replica: one branch each, with its keys and values in the decoder and its history in the sampler."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from swarmeval.engine.branches import Branch, Cohort, Member, Tree
from swarmeval.engine.decoder import SPARE, Decoder
from swarmeval.engine.graphs import Graphs, Recorder
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.sampler import Sampler


class Rows:
    """Branch i is row i of decoder and sampler. With `begin` (see Graphs), draws are recorded.

    Whatever allocates memory may raise torch.OutOfMemoryError. A branch is in `branches` before anything is allocated
    for it, so that none is lost then.
    """

    def __init__(
        self,
        decoder: Decoder,
        most: int,
        device: Any,
        kernels: NativeKernels | None,
        begin: Callable[[], Recorder] | None = None,
    ) -> None:
        self.branches: list[Branch] = []
        self.most = most
        self.decoder = decoder
        self._device = device
        self.kernels = kernels
        self._begin = begin
        self.sampler = self._new_sampler()
        self._joined = 0  # branches at the end that wait for their prefill

    @property
    def free(self) -> int:
        return self.most - len(self.branches)

    def join(self, branch: Branch) -> int | None:
        """Add a row for a branch, to be prefilled; return the number of tokens, or None if memory is short."""
        self.branches.append(branch)
        room = branch.most_tokens
        prompt, output = (_shifted(ids, branch.tree.shift) for ids in (branch.tree.prompt, branch.output))
        cost = self.decoder.join(prompt, room, output)
        if cost is None:
            self.branches.pop()
            return None
        branch.room = room
        self._joined += 1
        return cost

    def prefill(self) -> Tensor:
        """Compute the histories of the branches that joined; return their next-token logits [branches, vocabulary]."""
        logits = self.decoder.prefill()
        for branch in self.branches[-self._joined :]:
            self.sampler.admit([*branch.tree.prompt, *branch.output], len(branch.tree.prompt))
        self._joined = 0
        return logits

    def fork(self, branch: Branch) -> bool:
        """Add a row for a branch by copying that of a branch with the same history, except for the last token.

        Returns False if there is none, or no memory.
        """
        row = self._row_with(branch.tree, branch.output[:-1]) if self.free and branch.output else None
        return row is not None and self._fork(row, branch)

    def inherit(self, waiting: Iterable[Branch]) -> list[Branch]:
        """Give rows that are empty now to waiting branches that begin like them; return those branches.

        Of several, the one that has most in common with the row gets it: the others can fork from that later.
        """
        heirs: list[Branch] = []
        for row, ended in enumerate(self.branches[: self.most]):
            if ended.members:
                continue
            alike = [branch for branch in waiting if branch not in heirs and _begins_like(ended, branch)]
            heir = max(alike, key=lambda branch: len(branch.output), default=None)
            if heir is not None and self._fork(row, heir):
                self._evict(row)  # the last row, which is the heir's, takes its place
                heirs.append(heir)
        return heirs

    def _fork(self, row: int, branch: Branch) -> bool:
        *history, _ = branch.output  # the last token is yet to go through the model
        self.branches.append(branch)
        room = branch.most_tokens
        if not self.decoder.fork(row, len(branch.tree.prompt) + len(history), room):
            self.branches.pop()
            return False
        self.sampler.admit([*branch.tree.prompt, *history], len(branch.tree.prompt))
        branch.room = room
        return True

    def decode(self) -> Tensor:
        """Advance every branch by its last token; return the next-token logits [branches, vocabulary]."""
        tokens = [branch.output[-1] for branch in self.branches]
        self.sampler.append(tokens)
        shifts = [branch.tree.shift for branch in self.branches]
        return self.decoder.decode([token + shift for token, shift in zip(tokens, shifts, strict=True)])

    def add_member(self, branch: Branch, member: Member) -> bool:
        """Add a member to a branch. Returns False if it may need a longer output and there is no memory for that."""
        most = member.request.sampling.max_new_tokens
        if branch.room and most > branch.room:  # with 0, it has no row yet
            if not self.decoder.extend(self.branches.index(branch), most):
                return False
            branch.room = most
        branch.cohort = Cohort([*branch.members, member])
        return True

    def evict_empty(self) -> None:
        """Free the rows of branches without members."""
        for row in reversed(range(len(self.branches))):  # from the end: the row moved into a gap is one that stays
            if not self.branches[row].members:
                self._evict(row)

    def _evict(self, row: int) -> None:
        self.branches[row].leave()
        self.decoder.evict(row)
        self.sampler.evict(row)
        self.branches[row] = self.branches[-1]
        self.branches.pop()

    def clear(self, most: int) -> list[Branch]:
        """Free all rows and limit them to `most`; return their branches."""
        dropped, self.branches = self.branches, []
        for branch in dropped:
            branch.room = 0
        self.most, self._joined = most, 0
        self.decoder.clear()
        self.sampler = self._new_sampler()
        return dropped

    def _new_sampler(self) -> Sampler:
        return Sampler(self.most + SPARE, self._device, self.kernels, self._begin and Graphs(self._begin))

    def _row_with(self, tree: Tree, history: list[int]) -> int | None:
        """A row whose keys and values begin with this history."""
        length = len(history)
        for row, other in enumerate(self.branches):
            if other.tree is tree and len(other.output) > length and other.output[:length] == history:
                return row
        return None


def _shifted(tokens: Sequence[int], shift: int) -> tuple[int, ...]:
    return tuple(token + shift for token in tokens) if shift else tuple(tokens)


def _begins_like(ended: Branch, branch: Branch) -> bool:
    """Whether the row of an ended branch holds the keys and values that another branch needs."""
    length = len(branch.output) - 1
    return (
        ended.tree is branch.tree and 0 <= length <= len(ended.output) and ended.output[:length] == branch.output[:-1]
    )
