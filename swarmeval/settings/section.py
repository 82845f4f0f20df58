"""What every section of the settings is, and the mark of the keys that a resume may change."""

from collections.abc import Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

WEEK_S = 604_800

T = TypeVar("T")
RESUMABLE = "resumable"
# A key that changes how a run is watched or carried out but not what it measures: a resume may change it.
Resumable = Annotated[T, RESUMABLE]


class Section(BaseModel):
    """Settings of one subject. Field descriptions are the reference; docs/settings.md repeats them."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def at(self, key: str) -> object:
        """The value of a key as people write it: "endpoint.timeout_s" is that of a section."""
        holder, name = self._holder(key)
        return getattr(holder, name)

    def is_set(self, key: str) -> bool:
        """Whether somebody set a key, be it to its default."""
        holder, name = self._holder(key)
        return name in holder.model_fields_set

    def is_default(self, key: str) -> bool:
        """Whether a key has its default, set or not."""
        holder, name = self._holder(key)
        return bool(getattr(holder, name) == type(holder).model_fields[name].default)

    def changed(self) -> Iterator[str]:
        """The keys that do not have their default."""
        return (key for key in type(self).model_fields if not self.is_default(key))

    def _holder(self, key: str) -> tuple["Section", str]:
        name, _, inner = key.partition(".")
        return (getattr(self, name), inner) if inner else (self, name)


def sections(model: type[Section]) -> dict[str, type[Section]]:
    """The sections of a model by name."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}


def keys(model: type[Section]) -> dict[str, FieldInfo]:
    """Every key of a model as people write it, "endpoint.timeout_s" where it is in a section."""
    inner = sections(model)
    every: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        every |= {f"{name}.{key}": one for key, one in keys(inner[name]).items()} if name in inner else {name: field}
    return every


def is_resumable(field: FieldInfo) -> bool:
    """Whether a resume may change this key."""
    return RESUMABLE in field.metadata


def flat(model: type[Section], values: Mapping[str, object]) -> dict[str, object]:
    """Nested values by key as people write it; keys that the model does not know stay as they are."""
    inner = sections(model)
    leaves: dict[str, object] = {}
    for name, value in values.items():
        if name in inner and isinstance(value, Mapping):
            leaves |= {f"{name}.{key}": one for key, one in value.items()}
        else:
            leaves[name] = value
    return leaves
