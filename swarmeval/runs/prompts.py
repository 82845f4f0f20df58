"""Builds the request for one agent and task: chat messages, or raw text in completion mode."""

import msgspec

from swarmeval.errors import ConfigError
from swarmeval.records import Agent, Answer, Attempt, Task
from swarmeval.requests import Message, ReplicaInfo, Request, Sampling, Thinking
from swarmeval.runs.plan import Plan
from swarmeval.runs.repair_prompt import failure_evidence
from swarmeval.settings.run_config import RunConfig
from swarmeval.tasks.languages import LANGUAGES
from swarmeval.tasks.shown import program_start
from swarmeval.thinking import end_of

INSTRUCTION = (
    "Complete the following {language} function. Reply with the whole function, imports included, "
    "in one {language} code block.\n\n```{tag}\n{prompt}\n```"
)

AGAIN = "This solution is not right. {evidence}\n\nFind the fault and reply with {wanted}."
WANTED: dict[Answer, str] = {
    "function": "the whole corrected function, imports included, in one {language} code block",
    "program": "the whole corrected program in one {language} code block",
    "expression": "a corrected answer in the same form",
}

# Tokens that a chat template may add to a prompt: its markers, and the system prompt that some templates include.
TEMPLATE_TOKENS = 1024

# Stop texts of completion mode: a base model that writes one of these at column zero has left the function.
# Comments, decorators and `def` are missing on purpose, since they may begin a helper that the answer needs.
STOPS = ("\nclass ", "\nif __name__", "\nprint(", "\nassert ", "\n```", "\n<|", "\n>>>")


def make_request(
    plan: Plan, k: int, mode: str, config: RunConfig, repairs: Attempt | None = None, thinking: Thinking | None = None
) -> Request:
    """Build the request of the k-th job; `mode` is "chat" or "completion", `repairs` the attempt to repair."""
    agent, task = plan.agent(k), plan.task(k)
    sampling = _sampling(agent, mode, config, task)
    job_id, seed = plan.job(k).job_id, plan.seed(k)
    if mode == "completion":
        again = _text_again(task, repairs, config) if repairs else ""
        suffix = task.ending if task.infilling else None
        return Request(
            job_id,
            seed,
            sampling,
            text=_text(agent, task, again),
            suffix=suffix,
            thinking=thinking,
            marks=config.budget_prefixes,
            adapter=agent.adapter,
        )
    again_messages = _messages_again(task, repairs, config) if repairs else ()
    return Request(
        job_id,
        seed,
        sampling,
        messages=(*_messages(agent, task), *again_messages),
        template_kwargs=config.chat_template_kwargs,
        prefill=config.assistant_prefill,
        thinking=thinking,
        marks=config.budget_prefixes,
        adapter=agent.adapter,
    )


def stated_thinking(config: RunConfig) -> Thinking | None:
    """The markers that the settings state and the limit; empty markers for `auto`, None for `off`."""
    start, end, budget = config.thinking.start, config.thinking.end, config.thinking.budget_tokens
    if start == "off":
        return None
    if start == "auto":
        return Thinking("", "", budget)
    return Thinking(start, end_of(start) or end if end == "auto" else end, budget)


def thinking_of(config: RunConfig, info: ReplicaInfo) -> Thinking | None:
    """The markers of a run's thoughts and their limit; None if the replies are not separated from any.

    Raises ConfigError if there is a limit but the markers are unknown.
    """
    stated = stated_thinking(config)
    if stated is None or stated.start:
        return stated
    markers, budget = info.thinking, stated.budget_tokens
    if markers is None and budget is not None:
        raise ConfigError(
            f"thinking.budget_tokens is set but {info.model} has no known markers of thoughts; "
            "set thinking.start and thinking.end"
        )
    return markers and msgspec.structs.replace(markers, budget_tokens=budget)


def _messages(agent: Agent, task: Task) -> tuple[Message, ...]:
    user = Message("user", task.question or _instruction(task))
    return (Message("system", agent.system_prompt), user) if agent.system_prompt else (user,)


def _instruction(task: Task) -> str:
    language = LANGUAGES[task.language]
    return INSTRUCTION.format(language=language.title, tag=language.tag, prompt=task.prompt.strip())


def _messages_again(task: Task, attempt: Attempt, config: RunConfig) -> tuple[Message, ...]:
    """The failed reply and how it failed. Earlier attempts are left out to save context."""
    evidence = failure_evidence(task, attempt, config.repair_sees)
    wanted = WANTED[task.answer].format(language=LANGUAGES[task.language].title)
    reply = attempt.completion.reply.strip() or "(no reply)"
    return Message("assistant", reply), Message("user", AGAIN.format(evidence=evidence, wanted=wanted))


def _text_again(task: Task, attempt: Attempt, config: RunConfig) -> str:
    """The failed program and how it failed, written as a source file that is being corrected."""
    comment = LANGUAGES[task.language].comment
    evidence = failure_evidence(task, attempt, config.repair_sees).replace("\n", f"\n{comment} ")
    start = program_start(task) if task.answer == "function" else ""
    end = task.ending if task.infilling else ""
    code = f"{start}{(attempt.verdict.code + end).rstrip()}"
    return f"{code}\n\n\n{comment} The code above is wrong. {evidence}\n{comment} Corrected:\n\n"


def _text(agent: Agent, task: Task, again: str) -> str:
    """The prompt, after any failed attempt, without its trailing newline.

    With that newline, models end at once or chat instead of writing the body. Whole programs and expressions do not
    continue the prompt, so for them the preamble is the whole text. The prefix of a gap is sent as it is.
    """
    before = f"{agent.system_prompt}\n" if agent.system_prompt else ""
    start = "" if task.answer != "function" else task.prompt if task.infilling else task.prompt.rstrip()
    return before + task.preamble + again + start


def most_prompt_tokens(plan: Plan, *also: str) -> int | None:
    """An upper bound on the tokens of every prompt of a run, without a tokenizer: a token has at least one byte.

    `also`: texts that a prompt may contain besides.
    None if there may be repairs, whose prompts contain replies.
    """
    if any(agent.repairs for agent in plan.agents):
        return None
    anyone = Agent(0, 0)
    system = max((_bytes(agent.system_prompt or "") for agent in plan.agents), default=0)
    tasks = (
        max(
            _bytes(_text(anyone, task, "") + task.ending),
            sum(_bytes(message.content) for message in _messages(anyone, task)),
        )
        for task in plan.tasks
    )
    return system + max(tasks, default=0) + sum(map(_bytes, also)) + TEMPLATE_TOKENS


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _stops(mode: str, config: RunConfig, task: Task | None) -> tuple[str, ...]:
    if config.stop != "auto":
        return config.stop
    if mode != "completion":
        return ()
    return STOPS if task is None or task.stops is None else task.stops


def example(config: RunConfig, mode: str, infilling: bool = False) -> Request:
    """A short request with the settings of a run, to try out a server. `infilling`: whether prompts have a suffix."""
    sampling = usual_sampling(config, mode)
    thinking = Thinking("", "", config.thinking.budget_tokens)
    if mode == "completion":
        return Request("", 0, sampling, text="Hello,", suffix="!" if infilling else None, thinking=thinking)
    return Request(
        "",
        0,
        sampling,
        messages=(Message("user", "Say hello."),),
        template_kwargs=config.chat_template_kwargs,
        prefill=config.assistant_prefill,
        thinking=thinking,
    )


def usual_sampling(config: RunConfig, mode: str) -> Sampling:
    """The sampling parameters of an agent without its own settings."""
    return _sampling(Agent(0, 0), mode, config)


def _sampling(agent: Agent, mode: str, config: RunConfig, task: Task | None = None) -> Sampling:
    return Sampling(
        max_new_tokens=config.max_new_tokens,
        do_sample=config.do_sample,
        temperature=config.temperature if agent.temperature is None else agent.temperature,
        top_p=config.top_p if agent.top_p is None else agent.top_p,
        top_k=config.top_k if agent.top_k is None else agent.top_k,
        min_p=config.min_p if agent.min_p is None else agent.min_p,
        presence_penalty=config.presence_penalty if agent.presence_penalty is None else agent.presence_penalty,
        frequency_penalty=config.frequency_penalty if agent.frequency_penalty is None else agent.frequency_penalty,
        logit_bias=tuple(config.logit_bias.items()) if agent.logit_bias is None else agent.logit_bias,
        repetition_penalty=config.repetition_penalty,
        num_beams=config.num_beams,
        stop=_stops(mode, config, task),
    )
