"""agent x task -> the request a replica gets: chat messages, or raw text in completion mode."""

from bench.plan import Plan
from bench.records import Agent, Task
from bench.settings import RunConfig
from workers.protocol import Message, Request, Sampling

INSTRUCTION = (
    "Complete the following Python function. Reply with the whole function, imports included, "
    "in one Python code block.\n\n```python\n{prompt}\n```"
)

# Completion mode: a base model that begins one of these at column zero has left the function. Comments,
# decorators and `def` are not among them, since they may begin a helper the answer needs.
STOPS = ("\nclass ", "\nif __name__", "\nprint(", "\nassert ", "\n```", "\n<|", "\n>>>")


def make_request(plan: Plan, k: int, mode: str, config: RunConfig) -> Request:
    """The request of the k-th job; `mode` is "chat" or "completion"."""
    agent, task = plan.agent(k), plan.task(k)
    sampling = _sampling(agent, mode, config)
    job_id, seed = plan.job(k).job_id, plan.seed(k)
    if mode == "completion":
        return Request(job_id, seed, sampling, text=_text(agent, task))
    return Request(job_id, seed, sampling, messages=_messages(agent, task))


def _messages(agent: Agent, task: Task) -> tuple[Message, ...]:
    user = Message("user", task.question or INSTRUCTION.format(prompt=task.prompt.strip()))
    return (Message("system", agent.system_prompt), user) if agent.system_prompt else (user,)


def _text(agent: Agent, task: Task) -> str:
    """The prompt without its last newline: with it, models end or chat at once instead of writing the body."""
    before = f"{agent.system_prompt}\n" if agent.system_prompt else ""
    return before + task.preamble + task.prompt.rstrip()


def _stops(mode: str, config: RunConfig) -> tuple[str, ...]:
    if config.stop != "auto":
        return config.stop
    return STOPS if mode == "completion" else ()


def _sampling(agent: Agent, mode: str, config: RunConfig) -> Sampling:
    return Sampling(
        max_new_tokens=config.max_new_tokens,
        do_sample=config.do_sample,
        temperature=config.temperature if agent.temperature is None else agent.temperature,
        top_p=config.top_p if agent.top_p is None else agent.top_p,
        top_k=config.top_k if agent.top_k is None else agent.top_k,
        repetition_penalty=config.repetition_penalty,
        num_beams=config.num_beams,
        stop=_stops(mode, config),
    )
