"""Finish reasons: translation of servers' own words into OpenAI's."""

from collections.abc import Callable

MAX_REASON = 40  # characters of an unknown reason
ENDS = {
    "stop": ("stop", "eos", "eos_token", "eos_token_id", "end_turn", "end_of_turn", "stop_sequence", "stop_string",
             "stop_token", "end_of_text", "end", "complete", "completed", "finished", "done"),
    "length": ("length", "max_tokens", "model_length", "max_length", "max_new_tokens", "max_output_tokens",
               "max_completion_tokens", "token_limit", "context_length", "model_context_window_exceeded"),
    "content_filter": ("content_filter", "content_filtered", "safety", "refusal", "recitation", "blocklist",
                       "prohibited_content"),
    "tool_calls": ("tool_calls", "tool_call", "tool_use", "function_call"),
}  # fmt: skip
KNOWN = {word: reason for reason, words in ENDS.items() for word in words}
# The server aborted the answer: another try may succeed.
BROKEN_OFF = (
    "abort", "aborted", "cancel", "cancelled", "canceled", "error", "failed", "timeout", "insufficient_system_resource",
)  # fmt: skip


def ending(said: str, hide: Callable[[str], str]) -> str:
    """OpenAI's word for a server's finish reason. An unknown word is kept, with secrets removed."""
    word = _plain(said)
    if word in KNOWN:
        return KNOWN[word]
    shown = "".join(letter if letter.isprintable() else " " for letter in hide(said))
    return shown.strip()[:MAX_REASON]


def broke_off(reason: str | None) -> bool:
    """Whether the finish reason means that the server aborted the answer."""
    return reason is not None and _plain(reason) in BROKEN_OFF


def _plain(said: str) -> str:
    return said.strip().lower().replace("-", "_").replace(" ", "_").removeprefix("finish_reason_")
