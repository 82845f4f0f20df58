"""The languages of tasks: their names in prompts, their tags of code blocks, their comments. Runs nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """The words and marks of a programming language."""

    title: str  # its name in a prompt
    tag: str  # of a fenced code block
    comment: str  # start of a comment up to the end of the line


LANGUAGES = {
    "python": Language("Python", "python", "#"),
    "javascript": Language("JavaScript", "javascript", "//"),
    "typescript": Language("TypeScript", "typescript", "//"),
    "cpp": Language("C++", "cpp", "//"),
    "java": Language("Java", "java", "//"),
    "go": Language("Go", "go", "//"),
    "rust": Language("Rust", "rust", "//"),
    "php": Language("PHP", "php", "//"),
    "ruby": Language("Ruby", "ruby", "#"),
    "perl": Language("Perl", "perl", "#"),
    "lua": Language("Lua", "lua", "--"),
    "r": Language("R", "r", "#"),
    "bash": Language("Bash", "bash", "#"),
}
