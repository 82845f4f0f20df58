"""One layer of a KV cache whose rows have a slot each. Does not know which rows there are (see slots)."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from swarmeval.engine.decoder import Unsupported
from swarmeval.engine.steps import Shape


@dataclass(slots=True)
class WriteTarget:
    """Write positions of a step: token i goes to place places[i] of slot slots[i]. Each row reads `length` places."""

    slots: Tensor  # [rows]
    places: Tensor  # [rows]
    length: int


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one layer: [slots, heads, capacity, head size]."""

    def __init__(self, room: Shape, like: Any, aim: WriteTarget) -> None:
        super().__init__()
        self._aim = aim
        self.keys: Tensor = _resized(like.keys[:0, :, :0], room)
        self.values: Tensor = _resized(like.values[:0, :, :0], room)
        self.is_initialized = True

    def fill(self, slot: int, like: Any, start: int) -> None:
        """Copy a prefilled prompt into the slot, from token `start` on."""
        length = like.keys.shape[2] - start
        self.keys[slot, :, :length] = like.keys[0, :, start:]
        self.values[slot, :, :length] = like.values[0, :, start:]

    def drop_start(self, slot: int, count: int, length: int) -> None:
        """Remove the first `count` of the slot's `length` tokens."""
        self.keys[slot, :, : length - count] = self.keys[slot, :, count:length].clone()
        self.values[slot, :, : length - count] = self.values[slot, :, count:length].clone()

    def move(self, source: int, target: int, length: int) -> None:
        self.keys[target, :, :length] = self.keys[source, :, :length]
        self.values[target, :, :length] = self.values[source, :, :length]

    def resize(self, room: Shape) -> None:
        self.keys = _resized(self.keys, room)
        self.values = _resized(self.values, room)

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write one token per row [rows, heads, 1, head size]; return the keys and values that the rows attend to."""
        rows, device, length = key_states.shape[0], key_states.device, self._aim.length
        slots, places = self._aim.slots.to(device), self._aim.places.to(device)
        self.keys[slots, :, places] = key_states[:, :, 0]
        self.values[slots, :, places] = value_states[:, :, 0]
        return self.keys[:rows, :, :length], self.values[:rows, :, :length]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        raise Unsupported("slots are filled from a prefilled prompt")

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._aim.length, 0

    def get_seq_length(self) -> int:
        return self._aim.length - 1

    def get_max_length(self) -> int:
        return -1


def _resized(states: Tensor, room: Shape) -> Tensor:
    """Copy what fits of the states into a tensor of zeros. Masked places are still multiplied, and 0 * nan is nan."""
    resized = states.new_zeros(room.rows, states.shape[1], room.length, states.shape[3])
    kept = states[: room.rows, :, : room.length]
    resized[: kept.shape[0], :, : kept.shape[2]] = kept
    return resized
