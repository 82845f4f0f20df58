"""The trees of answers: one node per token history, and one branch for all requests that have the same history.

Requests with the same prompt begin at the root of its tree. Each draws its own tokens; those that drew the same stay
together, and the others part. The distributions of nodes are kept, within KEPT_BYTES, so that a request that comes
later follows the known tree without computation until it leaves it. Knows nothing about models and tensors.
"""

import random
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from swarmeval.engine.sampler import Choice
from swarmeval.engine.text.stopping import Growth, StopStrings
from swarmeval.engine.text.thoughts import Parts, ThoughtGrowth, Thoughts
from swarmeval.engine.text.tokens import Detokenizer, Marks, marks
from swarmeval.requests import FinishReason, Reply, Request, Thinking
from swarmeval.thinking import ends_within

KEPT_BYTES = 64 << 20  # nodes and their distributions, in all trees of a replica
_NODE_BYTES = 400  # about what Python needs for a node
_TOKEN_BYTES = 36  # and for a token of a prompt
BLOCK = 32  # tokens whose uniforms are drawn at once


class Kept(Protocol):
    """Distributions of a step (see draw.KeptDistribution)."""

    row_bytes: int

    def draw(self, row: int, uniform: float) -> int | None: ...


class TreeNode:
    """One token history."""

    __slots__ = ("branch", "children", "kept")

    def __init__(self) -> None:
        self.children: dict[int, TreeNode] = {}
        self.kept: dict[Choice, tuple[Kept, int]] = {}  # what follows, per settings
        self.branch: Branch | None = None  # the branch that computes what follows

    def child(self, token: int) -> "TreeNode":
        found = self.children.get(token)
        if found is None:
            found = self.children[token] = TreeNode()
        return found


class Tree:
    """All answers to one prompt, or the answer to one request if it is not `shared`."""

    def __init__(self, prompt: tuple[int, ...], detokenizer: Detokenizer, shared: bool = False, shift: int = 0) -> None:
        self.prompt = prompt
        self.shift = shift  # of its adapter: added to the token ids that the decoder gets
        self.detokenizer = detokenizer
        self.shared = shared
        self.root = TreeNode()
        self.members = 0  # requests in progress
        self.ends: frozenset[int] = frozenset()  # tokens that end an answer, besides the end-of-text tokens
        self.kept_bytes = 0
        self.searched: dict[Hashable, list[int]] = {}  # tokens of beam searches, by their settings
        self._stops: dict[tuple[str, ...], StopStrings] = {}
        self._thoughts: dict[tuple[Thinking, bool], Thoughts] = {}

    def thoughts(self, tokenizer: Any, thinking: Thinking | None, prefill: str) -> Thoughts | None:
        if thinking is None:
            return None
        key = thinking, ends_within(prefill, thinking)
        return self._thoughts.get(key) or self._thoughts.setdefault(key, Thoughts(tokenizer, self.prompt, *key))

    def stops(self, stop: tuple[str, ...]) -> StopStrings:
        return self._stops.setdefault(stop, StopStrings(self.detokenizer, stop))


@dataclass(slots=True, eq=False)
class Member:
    """One request in progress."""

    request: Request
    tree: Tree
    choice: Choice
    stops: StopStrings
    thoughts: Thoughts | None  # None if its answers are not separated from any
    growth: Growth | ThoughtGrowth | None  # for streamed requests only
    submitted: float  # time.perf_counter(), like all times here
    admitted: float
    first_token: float = 0.0
    computed: int = 0  # tokens that were computed for it, though others may have used them
    _random: random.Random = field(init=False)
    _block: int = -1  # whose uniforms are the latest
    _uniforms: list[float] = field(default_factory=list)
    _answer_start: int | None = None  # as thoughts.answer_start() says
    _sought: int = -1  # length of the output in which _answer_start was looked for last

    def __post_init__(self) -> None:
        self._random = random.Random(self.request.seed)

    def uniforms(self, block: int) -> list[float]:
        """The uniforms for BLOCK tokens of the output, of the same block as at the last call or the next.

        0 for a greedy request: it takes the best token.
        """
        while self._block < block:
            self._block += 1
            self._uniforms = [self._random.random() if self.choice.do_sample else 0.0 for _ in range(BLOCK)]
        return self._uniforms

    @property
    def end(self) -> tuple[int, ...]:
        """Equal for members of a tree that end at the same place of the same output."""
        return id(self.stops), id(self.thoughts), self.request.sampling.max_new_tokens

    def finish_reason(self, output: Sequence[int]) -> FinishReason | None:
        """Why the answer ends with this output; None if it goes on."""
        if self.stops and self.stops.reached(self._answer(output)):
            return "stop"
        return "length" if len(output) >= self.request.sampling.max_new_tokens else None

    def pieces(self, output: Sequence[int]) -> tuple[str, str]:
        """The new text to stream since the last call: (answer, thought)."""
        if isinstance(self.growth, ThoughtGrowth):
            self._answer(output)
            return self.growth.more(output, self._answer_start)
        return ("" if self.growth is None else self.growth.more(output)), ""

    def _answer(self, output: Sequence[int]) -> Sequence[int]:
        """The output without the thought before the answer."""
        if self.thoughts is None:
            return output
        missed = len(output) > self._sought + 1  # while another member of its cohort was asked
        if self._answer_start is None and (missed or self.thoughts.may_have_ended(output)):
            self._answer_start = self.thoughts.answer_start(output)
        self._sought = len(output)
        return () if self._answer_start is None else output[self._answer_start :]

    def parts(self, output: Sequence[int]) -> Parts:
        """The texts of a whole output, cut at the first stop string."""
        if self.thoughts is None:
            return Parts(*self.stops.cut(self.tree.detokenizer.text(output)))
        return self.thoughts.parts(output, self.stops)

    def marks(self, output: Sequence[int]) -> Marks:
        """Return the characters of the answer that the first tokens of a whole output complete."""
        return marks(output, lambda begun: self.parts(begun).text)

    def reply(
        self, parts: Parts, output_tokens: int, last_token: float, reason: FinishReason, marks: Marks = ()
    ) -> Reply:
        return Reply(
            job_id=self.request.job_id,
            text=parts.text,
            prompt_tokens=len(self.tree.prompt),
            output_tokens=output_tokens,
            queue_s=self.admitted - self.submitted,
            ttft_s=self.first_token - self.submitted,
            latency_s=max(last_token, self.first_token) - self.submitted,
            finish_reason="stop" if parts.stopped else reason,
            computed_tokens=self.computed,
            reasoning=parts.thought,
            reasoning_tokens=parts.thought_tokens,
            marks=marks,
        )


class Cohort:
    """Members with the same history. Never changes, so that what they have in common is worked out once."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self._block = -1  # whose uniforms are in `_uniforms`
        self._uniforms: list[tuple[float, ...]] = []

    def uniforms(self, place: int) -> tuple[float, ...]:
        """Each member's uniform for the output's token at this place. Draws a block ahead."""
        block, index = divmod(place, BLOCK)
        if block != self._block:
            self._block = block
            self._uniforms = list(zip(*(member.uniforms(block) for member in self.members), strict=True))
        return self._uniforms[index]

    @cached_property
    def choices(self) -> list[Choice]:
        """The settings that occur."""
        return list({id(member.choice): member.choice for member in self.members}.values())

    @cached_property
    def choice_of(self) -> list[int]:
        """The index of each member's settings in `choices`."""
        places = {id(choice): place for place, choice in enumerate(self.choices)}
        return [places[id(member.choice)] for member in self.members]

    @cached_property
    def ends(self) -> list[Member]:
        """A member of each `end`."""
        return list({member.end: member for member in self.members}.values())

    @cached_property
    def limited(self) -> list[tuple[int, Thoughts]]:
        """The places of the members whose thoughts have a budget, with what finds their thoughts."""
        found = ((place, member.thoughts) for place, member in enumerate(self.members))
        return [(place, it) for place, it in found if it is not None and it.thinking.budget_tokens is not None]

    def parted(self, tokens: Sequence[int]) -> "dict[int, Cohort]":
        """The members by the token that each drew."""
        if tokens.count(tokens[0]) == len(tokens):
            return {tokens[0]: self}
        drawn: dict[int, list[Member]] = {}
        for member, token in zip(self.members, tokens, strict=True):
            drawn.setdefault(token, []).append(member)
        return {token: Cohort(members) for token, members in drawn.items()}


EMPTY = Cohort(())


@dataclass(slots=True, eq=False)
class Branch:
    """One token history in progress and the requests that have it."""

    tree: Tree
    node: TreeNode
    output: list[int]  # without the end-of-text token
    cohort: Cohort
    last_token: float = 0.0  # when the last token was drawn
    room: int = 0  # output tokens that its row has memory for

    def __post_init__(self) -> None:
        self.node.branch = self.node.branch or self

    @property
    def members(self) -> Sequence[Member]:
        return self.cohort.members

    @property
    def most_tokens(self) -> int:
        """The longest output that a member may have."""
        return max(member.request.sampling.max_new_tokens for member in self.members)

    def move(self, node: TreeNode, output: list[int], cohort: Cohort, now: float) -> None:
        """Go on to a node whose last token these members drew."""
        self.node, self.output, self.cohort, self.last_token = node, output, cohort, now
        node.branch = node.branch or self

    def leave(self) -> None:
        """Give up the node, so that no request joins here."""
        if self.node.branch is self:
            self.node.branch = None


class Trees:
    """The trees of the latest prompts. Without `share`, every request has a tree of its own."""

    def __init__(self, share: bool, most_bytes: int = KEPT_BYTES) -> None:
        self._share = share
        self._most_bytes = most_bytes
        self._trees: OrderedDict[tuple[int, tuple[int, ...]], Tree] = OrderedDict()  # least recently used first
        self.kept_bytes = 0

    def of(self, prompt: tuple[int, ...], detokenizer: Detokenizer, shift: int = 0) -> Tree:
        if not self._share:
            return Tree(prompt, detokenizer, shift=shift)
        tree = self._trees.get((shift, prompt))
        if tree is None:
            size = len(prompt) * _TOKEN_BYTES
            self._make_room(size)
            tree = self._trees[shift, prompt] = Tree(prompt, detokenizer, shared=True, shift=shift)
            self._account(tree, size)
        self._trees.move_to_end((shift, prompt))
        return tree

    def keep(self, groups: Sequence[tuple[Branch, Choice]], kept: Kept) -> None:
        """Keep what follows the branches' nodes, row by row, unless trees in use fill the memory."""
        size = kept.row_bytes + _NODE_BYTES
        if not self._make_room(size * len(groups)):
            return
        for row, (branch, choice) in enumerate(groups):
            if branch.tree.shared:
                branch.node.kept[choice] = kept, row
                self._account(branch.tree, size)

    def forget_idle(self) -> None:
        """Forget the trees without requests."""
        self._make_room(self._most_bytes)

    def _account(self, tree: Tree, size: int) -> None:
        tree.kept_bytes += size
        self.kept_bytes += size

    def _make_room(self, size: int) -> bool:
        """Forget trees without requests until there is room for `size` bytes; return whether there is."""
        while self.kept_bytes + size > self._most_bytes:
            idle = next((key for key, tree in self._trees.items() if not tree.members), None)
            if idle is None:
                return False
            self.kept_bytes -= self._trees.pop(idle).kept_bytes
        return True
