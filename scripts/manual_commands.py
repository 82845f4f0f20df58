"""The reference of commands and flags for the manual, from the argparse parsers."""

import argparse
from collections.abc import Iterator

import metrics_dashboard
from swarmeval import cli

FIRST = "python main.py"


def commands() -> str:
    """One section per command: its description, its usage, its arguments."""
    parts = list(_section(FIRST, cli.make_parser()))
    for name in cli.COMMANDS:
        parts += _section(f"{FIRST} {name}", cli.make_parser(name))
    parts += _section("python metrics_dashboard.py", metrics_dashboard.make_parser())
    return "\n\n".join(parts)


def _section(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    yield f"## `{command}`"
    yield parser.description or ""
    yield "```text\n" + " ".join([command, *map(_usage, shown)]) + "\n```"
    rows = [f"| {_name(action)} | {_cell(parser, action)} |" for action in shown]
    yield "\n".join(["| argument | meaning |", "|---|---|", *rows])


def _usage(action: argparse.Action) -> str:
    words = " ".join([*action.option_strings[-1:], *([_value(action)] if _value(action) else [])])
    return words if not action.option_strings and action.nargs != "*" else f"[{words}]"


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_value(action)}`"
    *short, long = (f"`{flag}`" for flag in action.option_strings)
    return ", ".join([*short, long[:-1] + (f" {_value(action)}`" if _value(action) else "`")])


def _value(action: argparse.Action) -> str:
    """The placeholder for a flag's value or for an argument; "" for a switch."""
    if action.nargs == 0:
        return ""
    choices = f"{{{','.join(action.choices)}}}" if action.choices else None
    name = str(action.metavar or choices or action.dest)
    return f"{name} ..." if action.nargs in ("+", "*") else name


def _cell(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    words = parser._get_formatter()._expand_help(action)  # with the default, as --help shows it
    return words.replace("|", "\\|")
