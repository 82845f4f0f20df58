"""The base class of all settings sections, and the marker for keys that a resume may change."""

from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

WEEK_S = 604_800

T = TypeVar("T")
RESUMABLE = "resumable"
# Marks a key that affects how a run executes or is watched but not what it measures. A resume may change it.
Resumable = Annotated[T, RESUMABLE]


class Section(BaseModel):
    """Settings of one subject. The manual's reference is generated from the field descriptions."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def at(self, key: str) -> object:
        """The value of a key, which may be dotted: "endpoint.timeout_s"."""
        holder, name = self._holder(key)
        return getattr(holder, name)

    def is_set(self, key: str) -> bool:
        """Whether a key was set explicitly, even to its default."""
        holder, name = self._holder(key)
        return name in holder.model_fields_set

    def is_default(self, key: str) -> bool:
        """Whether a key has its default value, set explicitly or not."""
        holder, name = self._holder(key)
        return bool(getattr(holder, name) == type(holder).model_fields[name].default)

    def changed(self) -> Iterator[str]:
        """The keys whose values differ from their defaults."""
        return (key for key in type(self).model_fields if not self.is_default(key))

    def _holder(self, key: str) -> tuple["Section", str]:
        name, _, inner = key.partition(".")
        return (getattr(self, name), inner) if inner else (self, name)


def sections(model: type[Section]) -> dict[str, type[Section]]:
    """Map the names of a model's sections to their types."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


def keys(model: type[Section]) -> dict[str, FieldInfo]:
    """Map every key of a model, dotted if it is in a section, to its field."""
    inner = sections(model)
    every: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        every |= {f"{name}.{key}": one for key, one in keys(inner[name]).items()} if name in inner else {name: field}
    return every


def is_resumable(field: FieldInfo) -> bool:
    """Whether a resume may change this key."""
    return RESUMABLE in field.metadata


def flat(model: type[Section], values: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested values to dotted keys. Keys that the model does not know are left unchanged."""
    inner = sections(model)
    leaves: dict[str, object] = {}
    for name, value in values.items():
        if name in inner and isinstance(value, Mapping):
            leaves |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            leaves[name] = value
    return leaves
