"""The tables of settings for the manual, from the pydantic fields: one table for the top level, one per section."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from swarmeval.settings.agents import AgentSettings
from swarmeval.settings.run_config import RunConfig
from swarmeval.settings.section import Section, is_resumable, sections

Schema = Mapping[str, Any]  # a JSON schema, as pydantic gives it
HEAD = "| key | default | values | resume | meaning |\n|---|---|---|---|---|"
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))


def settings() -> str:
    """The top-level keys, then the keys of each section, then the keys of one agent."""
    inner = sections(RunConfig)
    parts = ["## Top level", "\n".join([HEAD, *_rows(RunConfig, "", skipped=inner)])]
    for name, model in inner.items():
        parts += [f"## `{name}`", "\n".join([HEAD, *_rows(model, f"{name}.")])]
    parts += ["## One entry of `agents`", ", ".join(f"`{name}`" for name in AgentSettings.model_fields) + "."]
    return "\n\n".join(parts)


def _rows(model: type[Section], prefix: str, skipped: Mapping[str, object] | None = None) -> Iterator[str]:
    schema = model.model_json_schema()["properties"]
    for key, field in model.model_fields.items():
        if key in (skipped or {}):
            continue
        default = "none" if field.default is None else json.dumps(field.default, default=_as_typed).strip('"')
        resume = "may differ" if is_resumable(field) else ""
        allowed = " or ".join(dict.fromkeys(_values(schema[key])))
        yield f"| `{prefix}{key}` | `{default}` | {allowed} | {resume} | {field.description} |"


def _values(schema: Schema) -> Iterator[str]:
    """The values that a key may have, one phrase per alternative."""
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _values(one)
    elif "enum" in schema:
        yield ", ".join(f"`{value}`" for value in schema["enum"])
    elif "const" in schema:
        yield f"`{schema['const']}`"
    elif schema.get("type") in ("integer", "number"):
        bounds = [f"{sign} {schema[bound]:,}" for bound, sign in BOUNDS if bound in schema]
        yield f"{schema['type']} {', '.join(bounds)}".strip()
    else:
        names = {"boolean": "`true`, `false`", "string": "text", "array": "list", "object": "mapping", "null": "`null`"}
        yield names[schema["type"]]


def _as_typed(entry: BaseModel) -> object:
    """An entry of a list as people type it."""
    return entry.model_dump(exclude_defaults=True)
