"""Builds the request for one agent and task: chat messages, or raw text in completion mode."""

from swarmeval.records import Agent, Attempt, Task
from swarmeval.requests import Message, Request, Sampling
from swarmeval.runs.plan import Plan
from swarmeval.runs.repair_prompt import failure_evidence
from swarmeval.settings.run_config import RunConfig

INSTRUCTION = (
    "Complete the following Python function. Reply with the whole function, imports included, "
    "in one Python code block.\n\n```python\n{prompt}\n```"
)

AGAIN = (
    "This solution is not right. {evidence}\n\nFind the fault and reply with the whole corrected function, imports "
    "included, in one Python code block."
)

# Tokens that a chat template may add to a prompt: its markers, and the system prompt that some templates include.
TEMPLATE_TOKENS = 1024

# Stop texts of completion mode: a base model that writes one of these at column zero has left the function.
# Comments, decorators and `def` are missing on purpose, since they may begin a helper that the answer needs.
STOPS = ("\nclass ", "\nif __name__", "\nprint(", "\nassert ", "\n```", "\n<|", "\n>>>")


def make_request(plan: Plan, k: int, mode: str, config: RunConfig, repairs: Attempt | None = None) -> Request:
    """Build the request of the k-th job; `mode` is "chat" or "completion", `repairs` the attempt to repair."""
    agent, task = plan.agent(k), plan.task(k)
    sampling = _sampling(agent, mode, config)
    job_id, seed = plan.job(k).job_id, plan.seed(k)
    if mode == "completion":
        again = _text_again(task, repairs, config) if repairs else ""
        return Request(job_id, seed, sampling, text=_text(agent, task, again))
    again_messages = _messages_again(task, repairs, config) if repairs else ()
    return Request(job_id, seed, sampling, messages=(*_messages(agent, task), *again_messages))


def _messages(agent: Agent, task: Task) -> tuple[Message, ...]:
    user = Message("user", task.question or INSTRUCTION.format(prompt=task.prompt.strip()))
    return (Message("system", agent.system_prompt), user) if agent.system_prompt else (user,)


def _messages_again(task: Task, attempt: Attempt, config: RunConfig) -> tuple[Message, ...]:
    """The failed reply and how it failed. Earlier attempts are left out to save context."""
    evidence = failure_evidence(task, attempt, config.repair_sees)
    reply = attempt.completion.reply.strip() or "(no reply)"
    return Message("assistant", reply), Message("user", AGAIN.format(evidence=evidence))


def _text_again(task: Task, attempt: Attempt, config: RunConfig) -> str:
    """The failed program and how it failed, written as a source file that is being corrected."""
    evidence = failure_evidence(task, attempt, config.repair_sees).replace("\n", "\n# ")
    program = f"{task.prompt}{attempt.verdict.code.rstrip()}"
    return f"{program}\n\n\n# The code above is wrong. {evidence}\n# Corrected:\n\n"


def _text(agent: Agent, task: Task, again: str) -> str:
    """The prompt, after any failed attempt, without its trailing newline.

    With that newline, models end at once or chat instead of writing the body.
    """
    before = f"{agent.system_prompt}\n" if agent.system_prompt else ""
    return before + task.preamble + again + task.prompt.rstrip()


def most_prompt_tokens(plan: Plan) -> int | None:
    """An upper bound on the tokens of every prompt of a run, without a tokenizer: a token has at least one byte.

    None if there may be repairs, whose prompts contain replies.
    """
    if any(agent.repairs for agent in plan.agents):
        return None
    anyone = Agent(0, 0)
    system = max((_bytes(agent.system_prompt or "") for agent in plan.agents), default=0)
    tasks = (
        max(_bytes(_text(anyone, task, "")), sum(_bytes(message.content) for message in _messages(anyone, task)))
        for task in plan.tasks
    )
    return system + max(tasks, default=0) + TEMPLATE_TOKENS


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _stops(mode: str, config: RunConfig) -> tuple[str, ...]:
    if config.stop != "auto":
        return config.stop
    return STOPS if mode == "completion" else ()


def usual_sampling(config: RunConfig, mode: str) -> Sampling:
    """The sampling parameters of an agent without its own settings."""
    return _sampling(Agent(0, 0), mode, config)


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
