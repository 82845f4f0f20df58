"""The languages of tasks: their names in prompts, their tags of code blocks, their comments. Runs nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LanguageNames:
    """The words and marks of a programming language."""

    title: str  # its name in a prompt
    tag: str  # of a fenced code block
    comment: str  # start of a comment up to the end of the line


LANGUAGES = {
    "python": LanguageNames("Python", "python", "#"),
    "javascript": LanguageNames("JavaScript", "javascript", "//"),
    "typescript": LanguageNames("TypeScript", "typescript", "//"),
    "cpp": LanguageNames("C++", "cpp", "//"),
    "java": LanguageNames("Java", "java", "//"),
    "go": LanguageNames("Go", "go", "//"),
    "rust": LanguageNames("Rust", "rust", "//"),
    "php": LanguageNames("PHP", "php", "//"),
    "ruby": LanguageNames("Ruby", "ruby", "#"),
    "perl": LanguageNames("Perl", "perl", "#"),
    "lua": LanguageNames("Lua", "lua", "--"),
    "r": LanguageNames("R", "r", "#"),
    "bash": LanguageNames("Bash", "bash", "#"),
}
