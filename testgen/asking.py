"""A function's context -> the request for its tests, and a reply -> the code that it holds."""

import msgspec

from bench.errors import ConfigError
from bench.plan import stable_hash
from bench.prompts import usual_sampling
from bench.settings import RunConfig
from testgen import prompts
from testgen.sources import Context
from workers.protocol import ReplicaInfo, Request

CHARS_A_TOKEN = 2.5  # of code, at the fewest; tokenizers differ, and that of a server is not known here


class Asking:
    """Makes the requests of a load run, as the model that answers takes them."""

    def __init__(self, config: RunConfig, info: ReplicaInfo) -> None:
        """Raises ConfigError where the model does not take what the settings ask for."""
        asked = config.prompt_mode
        self.mode = asked if asked != "auto" else "chat" if info.takes_chat else "completion"
        if self.mode == "chat" and not info.takes_chat:
            raise ConfigError(f"prompt_mode is 'chat' but {info.model} has no chat template; use completion or auto")
        sampling = usual_sampling(config, self.mode)
        if self.mode == "completion" and config.stop == "auto":
            sampling = msgspec.structs.replace(sampling, stop=prompts.STOPS)
        self._sampling = sampling
        self._seed = config.seed
        self._most_chars = CHARS_A_TOKEN * (info.max_context_tokens - config.max_new_tokens)

    def fits(self, context: Context) -> bool:
        """Whether prompt and answer fit the model's window, by a cautious guess; what still does not is refused."""
        text = prompts.chat(context)[0].content if self.mode == "chat" else prompts.raw(context)
        return len(text) <= self._most_chars

    def request(self, context: Context, level: str, number: int) -> Request:
        """The number-th of a level. Its seed is of (run seed, function, level, number) and nothing else."""
        seed = stable_hash(self._seed, context.function_id, level, number)
        job_id = f"{level}/{number}"
        if self.mode == "chat":
            return Request(job_id, seed, self._sampling, messages=prompts.chat(context), stream=True)
        return Request(job_id, seed, self._sampling, text=prompts.raw(context), stream=True)

    def code(self, reply: str) -> str:
        """A reply with what its prompt had begun."""
        return prompts.LEAD + reply if self.mode == "completion" else reply
