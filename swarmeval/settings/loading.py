"""Builds a RunConfig from YAML and `key=value` words, with one-line errors. Holds no defaults (see run_keys)."""

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from swarmeval import secrets
from swarmeval.errors import ConfigError
from swarmeval.settings import old_spelling
from swarmeval.settings.agents import AgentSettings
from swarmeval.settings.loadtest import LoadLevel
from swarmeval.settings.old_spelling import SECTIONS
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import keys

ENTRIES: Mapping[str, type[BaseModel]] = {"agents": AgentSettings, "loadtest.levels": LoadLevel}  # list entry types
HINTS = {"temperature": " (for greedy decoding set do_sample: false)"}
FLAGS = {"num_tasks": "humaneval_limit"}  # flags whose key has another name
UNION_TYPE = re.compile(r"(?:literal\[.*|tuple\[.*|constrained-\w+|int|float|str)$")


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: only true/false are booleans, 1e-3 is a number, and duplicate keys are errors."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys_seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key.start_mark)
            if key.value in keys_seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is set twice", key.start_mark)
            keys_seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}  # drops the YAML 1.1 resolvers


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first))


_resolve("bool", "true|false|True|False|TRUE|FALSE", "tfTF")
_resolve("null", "null|Null|NULL|~|", "nN~")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
_resolve("int", "[-+]?(?:0|[1-9][0-9]*)", "-+0123456789")
_resolve("float", r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789")
_resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")


def load(path: str | Path, overrides: Mapping[str, object] | None = None) -> RunConfig:
    """Read settings from a YAML file and apply `overrides`, whose keys may be "section.key".

    Raises ConfigError, which names the file, the key, the value and the remedy.
    """
    values = _read(Path(path))
    for key in values:
        section, dot, name = key.partition(".")
        if dot and section in SECTIONS:
            raise ConfigError(f"{path}: {key}: in a file, write {name} under {section}:")
    return validate({**_drop_rival(values, overrides or {}), **(overrides or {})}, str(path), overrides or {})


def validate(values: Mapping[str, object], source: str, typed: Collection[str] = ()) -> RunConfig:
    """Build a RunConfig from plain values, whose keys may be "section.key".

    A ConfigError names `source`, or the command line if the key is in `typed`.
    """
    _register_secrets(values)
    for key in old_spelling.old_keys(values):
        raise ConfigError(f"{_origin(key, source, typed)}: {old_spelling.remedy(key)}")
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
        return RunConfig.model_validate(_tuples(_nested(values, source, typed)))
    except UnicodeEncodeError:
        raise ConfigError(f"{source}: contains a lone surrogate, which is not valid text; remove it") from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise _refused(error, source, typed) from None
        raise ConfigError(f"{source}: cannot be read ({_first_line(error)})") from None


def _register_secrets(values: Mapping[str, object]) -> None:
    """Register values whose keys mark them as secrets, so that later output hides them."""
    for key, value in values.items():
        if secrets.named(str(key)):
            secrets.register(value)
        elif key in SECTIONS and isinstance(value, Mapping):
            _register_secrets(value)


def _nested(values: Mapping[str, object], source: str, typed: Collection[str]) -> dict[str, object]:
    """Merge each "section.key" value into its section."""
    nested = {key: value for key, value in values.items() if key.partition(".")[0] not in SECTIONS}
    for section, model in SECTIONS.items():
        inner = values.get(section, {})
        if not isinstance(inner, Mapping):
            where, first = _origin(section, source, typed), next(iter(model.model_fields))
            raise ConfigError(f"{where}: {section} is a section; set its keys, for example {section}.{first}")
        dotted = {
            key.removeprefix(f"{section}."): value for key, value in values.items() if key.startswith(f"{section}.")
        }
        if inner or dotted:
            nested[section] = {**inner, **dotted}
    return nested


def _origin(key: str, source: str, typed: Collection[str]) -> str:
    """The source of a key's value: "command line" if `typed` names the key or its section, else `source`."""
    return "command line" if any(f"{key}.".startswith(f"{one}.") for one in typed) else source


def _refused(error: ValidationError, source: str, typed: Collection[str]) -> ConfigError:
    place = _path(error.errors()[0])
    return ConfigError(f"{_origin(_dotted(place), source, typed)}: {_explain(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def parse_set(words: Sequence[str]) -> dict[str, object]:
    """Parse `key=value` words; each value is a YAML scalar or flow list."""
    values: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if key in values:
            raise ConfigError(f"--set {key}: given twice; keep one of them")
        if not equals or not key:
            raise ConfigError(f"--set: {_shown_word(word)!r} does not have the form key=value")
        for other in values:  # a whole section and one of its keys
            if f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}."):
                raise ConfigError(f"--set {other} and --set {key} are both given; keep one of them")
        if secrets.named(key):
            secrets.register(text)
        try:
            values[key] = yaml.load(text, _Loader)  # a SafeLoader
        except yaml.YAMLError as error:
            raise ConfigError(
                f"--set {key}: {_shown(_shown_word(text))} is not a YAML value ({_where(error, word)})"
            ) from None
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number with too many digits
            raise ConfigError(
                f"--set {key}: {_shown(_shown_word(text))} cannot be read ({_first_line(error)})"
            ) from None
    return values


def from_flags(flags: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    """Turn parsed flags into settings; `names` maps flags to keys, and `set` holds key=value words.

    Raises ConfigError if a flag and --set name the same key.
    """
    values = parse_set(cast(Sequence[str], flags["set"]))
    for flag, key in names.items():
        if flags[flag] is None:
            continue
        if key in values:
            raise ConfigError(f"--set {key} and --{flag} are both given; keep one of them")
        values[key] = flags[flag]
    return values


def _read(path: Path) -> dict[str, object]:
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        values = yaml.load(text, _Loader)  # a SafeLoader
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give an existing file with --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: YAML syntax error at {_where(error, text)}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({_first_line(error)})") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{path}: must contain key: value lines, found {type(values).__name__}")
    return values


def _where(error: yaml.YAMLError, text: str) -> str:
    """Line, column and problem. The problem text is replaced if its line holds a secret that it might quote."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return problem
    if any(secrets.named(line) for line in text.splitlines()[mark.line : mark.line + 1]):
        problem = "quote the value"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _drop_rival(values: dict[str, object], overrides: Mapping[str, object]) -> dict[str, object]:
    """Drop `num_agents` if the overrides set `agents`, and the reverse; likewise `load_in_4bit` and `weights`."""
    rivals = {
        "agents": "num_agents", "num_agents": "agents", "weights": "load_in_4bit", "load_in_4bit": "weights"
    }  # fmt: skip
    dropped = {rivals[key] for key in overrides if key in rivals}
    return {key: value for key, value in values.items() if key not in dropped or key in overrides}


def _tuples(values: object) -> Any:
    """Convert YAML lists to tuples, which strict, frozen settings require."""
    if isinstance(values, Mapping):
        return {key: _tuples(value) for key, value in values.items()}
    if isinstance(values, list):
        return tuple(_tuples(value) for value in values)
    return values


def _explain(error: ValidationError) -> str:
    """Describe the first error of a ValidationError in one line: key, value, remedy."""
    faults = error.errors(include_url=False)
    first = faults[0]
    path = _path(first)
    key = _dotted(path)
    if first["type"] == "extra_forbidden":
        near = _near(path)
        return f"unknown key {key!r}; " + (
            f"did you mean {' or '.join(map(repr, near))}?" if near else "docs/settings.md lists the keys"
        )
    if first["type"] == "invalid_key":
        return f"{key}: a key must be a word"
    if first["type"] == "value_error":
        message = first["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    # A key with a union type has one error per type; satisfying any of the types is enough.
    faults = [fault for fault in faults if _path(fault)[: len(path)] == path]
    deepest = max(faults, key=lambda fault: len(_path(fault)))
    if len(_path(deepest)) > len(path):  # the outer type matched, but a value inside it did not
        first, path = deepest, _path(deepest)
        key = _dotted(path)
    needed = [
        fault["msg"].removeprefix("Input should be ").replace("valid tuple", "list")
        for fault in faults
        if _path(fault) == path
    ]
    hint = HINTS.get(str(path[-1]), "")
    requirement = f"should be {' or '.join(dict.fromkeys(needed))}".replace("should be String should", "should")
    if path[-1] == "[key]":  # pydantic's word for a key of a mapping that has the wrong form
        return f"{_dotted(path[:-2])} has the key {path[-2]!r}; it {requirement}"
    value = secrets.HIDDEN if secrets.named(str(path[-1])) else _shown(first["input"])
    return f"{key} is {value}; it {requirement}{hint}"


def _near(path: Sequence[int | str]) -> list[str]:
    """The known keys whose name is most similar to an unknown one: several if sections have the same name."""
    place = _dotted([part for part in path[:-1] if not isinstance(part, int)])
    if place in ENTRIES:
        known_keys = {name: [name] for name in ENTRIES[place].model_fields}
    elif place:
        known_keys = {name: [f"{place}.{name}"] for name in SECTIONS[place].model_fields}
    else:
        in_sections: dict[str, list[str]] = {}
        for key in (known := list(keys(RunConfig))):
            in_sections.setdefault(key.rpartition(".")[2], []).append(key)
        renamed = {name: [key] for name, key in (FLAGS | old_spelling.NEW).items()}
        known_keys = renamed | in_sections | {key: [key] for key in known}
    near = difflib.get_close_matches(str(path[-1]), known_keys, n=1, cutoff=0.5)
    return known_keys[near[0]] if near else []


def _dotted(path: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in path)


def _path(fault: ErrorDetails) -> list[int | str]:
    """Location of an error: keys and list indices, without pydantic's names for the members of a union."""
    first, *rest = fault["loc"] or ("",)
    place = [first, *(part for part in rest if isinstance(part, int) or not UNION_TYPE.match(part))]
    return [part for part in place if part != ""]


def _shown(value: object) -> str:
    text = secrets.scrub(repr(value))  # before truncation: scrub() does not recognize part of a secret
    return text if len(text) <= 60 else text[:57] + "..."


def _shown_word(word: str) -> str:
    """A word of the command line; if it sets a secret, only the name is shown."""
    name = secrets.NAMED.search(word)
    return word if name is None or name.end() == len(word) else word[: name.end()] + secrets.HIDDEN
