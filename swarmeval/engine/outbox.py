"""The ends of requests: which token ends which of them, their replies, and the tokens delivered and computed so far."""

from collections.abc import Sequence

from swarmeval.engine.branches import EMPTY, Cohort, Member, TreeNode
from swarmeval.engine.draw import NO_TOKEN
from swarmeval.engine.text.thoughts import Parts
from swarmeval.engine.text.tokens import Marks
from swarmeval.requests import Answer, FinishReason, Refusal

NO_NUMBERS = "the model's logits are not numbers (nan); its weights do not suit this compute dtype or are damaged"


class Outbox:
    """Collects the answers of a replica. What equal members have in common is worked out once."""

    def __init__(self, eos: frozenset[int]) -> None:
        self.eos = eos  # end-of-text tokens
        self._answers: list[Answer] = []  # since the last call of `collected`
        self.output_tokens = 0  # delivered, without end-of-text tokens
        self.computed_tokens = 0

    def collected(self) -> list[Answer]:
        """Return the answers since the last call."""
        answers, self._answers = self._answers, []
        return answers

    def refuse(self, job_id: str, reason: str) -> None:
        self._answers.append(Refusal(job_id, reason, retry=False))

    def charge(self, members: Sequence[Member], tokens: int) -> None:
        """Count computed tokens, and charge them to the first of the members that use them."""
        members[0].computed += tokens
        self.computed_tokens += tokens

    def take(
        self, cohort: Cohort, token: int, output: list[int], last_token: float, now: float, computed: bool
    ) -> Cohort:
        """Append a token that the members drew to the output that they have in common.

        Answers the members that end, and returns the others. `last_token` is the time of the last token before;
        `computed`: whether this history is new, so that the token goes through the model for them.
        """
        members = cohort.members
        if not output:
            for member in members:
                member.first_token = now
        if token == NO_TOKEN:
            for member in members:
                member.tree.members -= 1
                self.refuse(member.request.job_id, NO_NUMBERS)
            return EMPTY
        if token in self.eos or token in members[0].tree.ends:
            self.finish(members, output, last_token if output else now, "stop")
            return EMPTY
        output.append(token)
        self.output_tokens += len(members)
        if computed:
            self.charge(members, 1)
        reasons = {member.end: member.finish_reason(output) for member in cohort.ends}
        if not any(reasons.values()):
            return cohort
        ended: dict[FinishReason, list[Member]] = {}
        staying: list[Member] = []
        for member in members:
            reason = reasons[member.end]
            (staying if reason is None else ended.setdefault(reason, [])).append(member)
        for reason, finished in ended.items():
            self.finish(finished, output, now, reason)
        return Cohort(staying)

    def follow(self, member: Member, node: TreeNode, output: list[int], now: float) -> TreeNode | None:
        """Follow the known tree from a node, appending to `output`; None if the answer ends in it."""
        alone = Cohort([member])
        while (found := node.kept.get(member.choice)) is not None:
            kept, row = found
            length = len(output)
            token = member.thoughts.forced(output) if alone.limited and member.thoughts else None
            if token is None:
                token = kept.draw(row, alone.uniforms(length)[0])
            if token is None:
                break
            staying = self.take(alone, token, output, now, now, computed=token not in node.children)
            if len(output) > length:
                node = node.child(token)
            if not staying.members:
                return None
        return node

    def finish(self, members: Sequence[Member], output: list[int], last_token: float, reason: FinishReason) -> None:
        """Answer members with the output that they have in common, each up to its first stop string."""
        parts: dict[tuple[int, ...], Parts] = {}
        marked: dict[tuple[int, ...], Marks] = {}
        for member in members:
            end, asked = member.end, member.request.marks
            if end not in parts:
                parts[end] = member.parts(output)
            if asked and end not in marked:
                marked[end] = member.marks(output)
            member.tree.members -= 1
            found = marked[end] if asked else ()
            self._answers.append(member.reply(parts[end], len(output), last_token, reason, found))

    def search(self, member: Member, tokens: Sequence[int], now: float) -> None:
        """Answer a beam search by all of its tokens at once."""
        member.first_token = now
        ends = self.eos | member.tree.ends
        ended = next((place for place, token in enumerate(tokens) if token in ends), None)
        output = list(tokens[:ended])
        self.output_tokens += len(output)
        self.finish([member], output, now, "length" if ended is None else "stop")
