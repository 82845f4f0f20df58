"""The decode loop: admits waiting requests, advances every branch by one token per step, answers finished requests.

A branch is one row of the decoder and sampler for all requests that have the same token history (see branches). Holds
scheduling, timing and limits. Decoding (paged, slots, separate), token choice (sampler) and stop conditions (stopping)
are in modules of their own.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from swarmeval.engine import beams
from swarmeval.engine.adapters.lora import Adapters
from swarmeval.engine.branches import EMPTY, Branch, Cohort, Member, TreeNode, Trees
from swarmeval.engine.decoder import Decoder
from swarmeval.engine.draw import KeptDistribution
from swarmeval.engine.graphs import Recorder
from swarmeval.engine.kernels.native import NativeKernels
from swarmeval.engine.opening import Opener
from swarmeval.engine.out_of_memory import is_out_of_memory
from swarmeval.engine.outbox import Outbox
from swarmeval.engine.rows import Rows
from swarmeval.engine.sampler import Group
from swarmeval.engine.text.stopping import eos_ids
from swarmeval.engine.text.tokens import PromptError
from swarmeval.monitor.tracing.phases import DECODE, PREFILL, Phases
from swarmeval.requests import Answer, Piece, ReplicaInfo, Request, WorkerProgress

log = logging.getLogger("swarmeval")

PREFILL_TOKENS = 2048  # new prompt tokens admitted in one step, so that step() returns soon


class Engine:
    """A Replica over a transformers model. `output_tokens` excludes the end-of-text token.

    With `begin` (see Graphs), draws are recorded and replayed; the decoder's steps are its own affair.

    If memory runs out, the engine drops its rows, halves their number and continues their requests when rows are free.
    If it runs out with one row left, step() raises the error and the worker must exit.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        decoder: Decoder,
        info: ReplicaInfo,
        kernels: NativeKernels | None = None,
        phases: Phases | None = None,
        share_answers: bool = True,
        begin: Callable[[], Recorder] | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._info = info
        self.rows = Rows(decoder, info.rows, model.device, kernels, begin)
        self._trees = Trees(share_answers)
        self._adapters = adapters or Adapters()
        self._opener = Opener(tokenizer, info.max_context_tokens, self._trees, self._adapters.shifts)
        self._share = share_answers
        self._waiting: deque[tuple[Request, float]] = deque()  # with their time of submission
        self._parked: deque[Branch] = deque()  # branches in progress that wait for a row
        self.outbox = Outbox(eos_ids(model, tokenizer))
        self._phases = phases or Phases()
        if model.device.type == "cuda":
            self._phases.gauge("cuda_mb", lambda: torch.cuda.memory_allocated(model.device) / (1 << 20))

    def info(self) -> ReplicaInfo:
        return self._info

    def submit(self, request: Request) -> None:
        self._waiting.append((request, time.perf_counter()))

    @torch.inference_mode()
    def step(self) -> list[Answer]:
        short = False
        try:
            self._admit()
            if self.rows.branches:
                self._phases.enter(DECODE)
                self._advance(self.rows.decode(), first=0)
        except (MemoryError, RuntimeError) as error:
            if self.rows.most == 1 or not is_out_of_memory(error):
                raise
            short = True
        if short:  # outside of the handler: until it ends, the error keeps the step's tensors alive
            self._begin_again()
        return self.outbox.collected()

    def pieces(self) -> list[Piece]:
        return [
            Piece(member.request.job_id, text, len(branch.output), len(branch.tree.prompt), thought)
            for branch in self._branches()
            for member in branch.members
            if member.growth is not None
            for text, thought in [member.pieces(branch.output)]
            if text or thought
        ]

    def forget_answers(self) -> None:
        """Forget the answers to all prompts without requests in progress, as if the replica had just been loaded."""
        self._trees.forget_idle()

    def drop_waiting(self) -> list[str]:
        dropped = [request.job_id for request, _ in self._waiting]
        self._waiting.clear()
        return dropped

    @torch.inference_mode()
    def cancel(self, job_ids: Collection[str]) -> None:
        cancelled = set(job_ids)
        self._waiting = deque(waiting for waiting in self._waiting if waiting[0].job_id not in cancelled)
        for branch in self._branches():
            stay = [member for member in branch.members if member.request.job_id not in cancelled]
            if len(stay) < len(branch.members):
                branch.tree.members -= len(branch.members) - len(stay)
                branch.cohort = Cohort(stay)
        self._evict_empty()

    def progress(self) -> WorkerProgress:
        waiting = len(self._waiting) + sum(len(branch.members) for branch in self._parked)
        answers = self.outbox
        return WorkerProgress(
            len(self.rows.branches), waiting, answers.output_tokens, computed_tokens=answers.computed_tokens
        )

    def busy(self) -> bool:
        return bool(self.rows.branches or self._waiting or self._parked)

    def _branches(self) -> Iterator[Branch]:
        yield from self.rows.branches
        yield from self._parked

    def _begin_again(self) -> None:
        """Halve the rows and park their branches, so that nothing already drawn is drawn again."""
        most = max(1, self.rows.most // 2)
        log.warning("out of memory: reduced to %d rows; the other requests continue when rows are free", most)
        dropped = self.rows.clear(most)
        branches = [*dropped, *(branch for branch in self._parked if branch not in dropped)]
        self._parked = deque(branch for branch in branches if branch.members)
        self.forget_answers()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _admit(self) -> None:
        """Fill the free rows: first with branches in progress, then with requests, each of which may need a row."""
        self._place_forks()
        if not self._parked:
            for _ in range(min(len(self._waiting), self.rows.free)):
                self._phases.enter(PREFILL)
                request, submitted = self._waiting.popleft()
                try:
                    member = self._opener.member(request, submitted)
                except PromptError as error:
                    self.outbox.refuse(request.job_id, str(error))
                    continue
                member.tree.members += 1
                if request.sampling.num_beams > 1:
                    self._search_beams(member)
                    break
                self._settle(member, member.tree.root, [], member.admitted)
            self._place_forks()
        self._prefill_parked()

    def _prefill_parked(self) -> None:
        """Compute the history of parked branches and the tokens that follow, as far as rows and memory are free."""
        first, tokens = len(self.rows.branches), PREFILL_TOKENS
        while self._parked and tokens > 0 and self.rows.free:
            self._phases.enter(PREFILL)
            branch = self._parked.popleft()
            cost = self.rows.join(branch)
            if cost is None:
                self._parked.appendleft(branch)
                break
            tokens -= cost
            self.outbox.charge(branch.members, len(branch.output))
        if first < len(self.rows.branches):
            self._advance(self.rows.prefill(), first)

    def _place_forks(self) -> None:
        """Give parked branches rows that continue a copy of another row's history."""
        for _ in range(len(self._parked)):
            branch = self._parked.popleft()
            if not self.rows.fork(branch):
                self._parked.append(branch)

    def _advance(self, logits: Tensor, first: int) -> None:
        """Draw the next tokens of the members of rows first, first + 1, ... from the rows' logits; answer and part."""
        branches = self.rows.branches[first:]
        groups, draws, uniforms = _draws(branches)
        tokens, distributions = self.rows.sampler.choose(logits, first, groups, draws, uniforms)
        _end_thoughts(branches, tokens)
        if self._share:
            self._trees.keep([(branches[row], choice) for row, choice in groups], KeptDistribution(distributions))
        for branch in branches:
            branch.leave()
        now, at = time.perf_counter(), 0
        strays: list[tuple[Member, TreeNode, list[int]]] = []
        for branch in branches:
            begin, at = at, at + len(branch.members)
            strays += self._part(branch, branch.cohort.parted(tokens[begin:at]), now)
        for stray in strays:
            self._settle(*stray, now)
        if self._parked and not self.rows.free:
            heirs = self.rows.inherit(self._parked)
            self._parked = deque(branch for branch in self._parked if branch not in heirs)
        self._evict_empty()
        self._place_forks()

    def _part(
        self, branch: Branch, drawn: Mapping[int, Cohort], now: float
    ) -> Iterator[tuple[Member, TreeNode, list[int]]]:
        """Move a branch on with the members that drew its first token; the others part and wait for a row.

        Yields the members whose new history is known already, with its node and tokens.
        """
        before, parent, branch.cohort = branch.output, branch.node, EMPTY
        for token, cohort in drawn.items():
            output = before.copy()
            going = self.outbox.take(cohort, token, output, branch.last_token, now, computed=True)
            if len(output) > len(before):
                node = parent.child(token)
            if not going.members:
                continue
            if node.branch is not None or node.kept:
                known = [member for member in going.members if node.branch is not None or member.choice in node.kept]
                going = Cohort([member for member in going.members if member not in known])
                yield from ((member, node, output.copy()) for member in known)
            if going.members and not branch.members:
                branch.move(node, output, going, now)
            elif going.members:
                self._parked.append(Branch(branch.tree, node, output, going, now))

    def _settle(self, member: Member, node: TreeNode, output: list[int], now: float) -> None:
        """Follow the known tree from a node to its end; then join the branch that is there, or begin one."""
        end = self.outbox.follow(member, node, output, now)
        if end is None:
            return
        if end.branch is None or not self.rows.add_member(end.branch, member):
            self._parked.append(Branch(member.tree, end, output, Cohort([member]), now))

    def _evict_empty(self) -> None:
        """Drop the branches without members."""
        self.rows.evict_empty()
        if not all(branch.members for branch in self._parked):
            for branch in self._parked:
                if not branch.members:
                    branch.leave()
            self._parked = deque(branch for branch in self._parked if branch.members)

    def _search_beams(self, member: Member) -> None:
        """Answer a beam-search request outside the rows, in one call: its first and last token get the same time.

        Equal requests get the same answer, which is searched for once.
        """
        self._phases.enter(DECODE)
        sampling, tree = member.request.sampling, member.tree
        settings = sampling.num_beams, sampling.max_new_tokens, sampling.repetition_penalty
        if (tokens := tree.searched.get(settings)) is None:
            try:
                with self._adapters.everywhere(tree.shift):
                    tokens = beams.search(self.model, tree.prompt, *settings, self.outbox.eos | tree.ends)
            except (MemoryError, RuntimeError):
                tree.members -= 1
                self._waiting.appendleft((member.request, member.submitted))
                raise
            tree.searched[settings] = tokens
            self.outbox.charge([member], len(tokens))
        self.outbox.search(member, tokens, time.perf_counter())


def _end_thoughts(branches: Sequence[Branch], tokens: list[int]) -> None:
    """Replace the drawn tokens of members whose thoughts are open at their budget by those that end them."""
    at = 0
    for branch in branches:
        for place, thoughts in branch.cohort.limited:
            forced = thoughts.forced(branch.output)
            tokens[at + place] = tokens[at + place] if forced is None else forced
        at += len(branch.members)


def _draws(branches: Sequence[Branch]) -> tuple[list[Group], list[int], list[float]]:
    """The settings that occur in each branch; the index of each member's, and its uniform."""
    groups: list[Group] = []
    draws: list[int] = []
    uniforms: list[float] = []
    for row, branch in enumerate(branches):
        cohort, first = branch.cohort, len(groups)
        groups += [(row, choice) for choice in cohort.choices]
        draws += [first + index for index in cohort.choice_of]
        uniforms += cohort.uniforms(len(branch.output))
    return groups, draws, uniforms
