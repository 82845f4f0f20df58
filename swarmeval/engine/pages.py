"""Which page of the key-value pool holds what: prompts in pages that rows share, answers in pages of their own.

A page of a prompt is known by all tokens up to its end, so prompts that begin alike share what they have in common, to
the last whole page (Kwon et al. 2023, vLLM). Pages nobody reads are kept for the next prompt until they are
needed, or too many. Numbers only: the keys and values themselves lie with the decoder.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

PAGE = 16  # tokens; as kernels/pages.h has it

Key = tuple[int, tuple[int, ...]]  # serial number of the page before, own tokens


@dataclass(frozen=True, slots=True)
class Lease:
    """The pages of one row."""

    prompt: tuple[int, ...]  # in the order of its tokens; the last may be partly filled
    own: tuple[int, ...]
    known: int  # tokens of the prompt that an earlier lease has computed, or will have before this one


def pages_of(tokens: int) -> int:
    return -(-tokens // PAGE)


class PagePool:
    """Pages 0..count-1. `keep`: how many pages without a reader are kept for later prompts."""

    def __init__(self, count: int, keep: int) -> None:
        self._free = list(range(count))[::-1]  # the last one first: few pages are touched while few are needed
        self._keep = keep
        self._readers: dict[int, int] = {}
        self._serial = 0
        self._by_key: dict[Key, tuple[int, int]] = {}  # page, serial number
        self._keys: dict[int, Key] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # prompts' pages without a reader, the oldest first

    @property
    def available(self) -> int:
        return len(self._free) + len(self._idle)

    def lease(self, prompt: Sequence[int], new_tokens: int, share: bool = True) -> Lease | None:
        """Pages for a prompt and as many new tokens; None while there are too few. Without `share`, none is shared."""
        parts = [tuple(prompt[start : start + PAGE]) for start in range(0, len(prompt), PAGE)]
        known_pages = self._find(parts) if share else []
        idle = sum(page in self._idle for page, _ in known_pages)
        own_count = pages_of(new_tokens)
        if self.available - idle < len(parts) - len(known_pages) + own_count:
            return None
        for page, _ in known_pages:
            self._take(page)
        pages = [page for page, _ in known_pages]
        before = known_pages[-1][1] if known_pages else 0
        for part in parts[len(known_pages) :]:
            page = self._new()
            if share:
                before = self._register(page, (before, part))
            pages.append(page)
        own = tuple(self._new() for _ in range(own_count))
        return Lease(tuple(pages), own, known=min(len(prompt), len(known_pages) * PAGE))

    def release(self, lease: Lease) -> None:
        """Give the pages back; those of the prompt stay findable as long as they are not needed."""
        for page in (*lease.own, *reversed(lease.prompt)):  # the end of a prompt goes before its beginning
            self._readers[page] -= 1
            if self._readers[page]:
                continue
            del self._readers[page]
            if page in self._keys:
                self._idle[page] = None
            else:
                self._free.append(page)
        while len(self._idle) > self._keep:
            self._free.append(self._forget())

    def _find(self, parts: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
        """Page and serial number of the first parts, as far as they are known."""
        pages: list[tuple[int, int]] = []
        for part in parts:
            place = self._by_key.get((pages[-1][1] if pages else 0, part))
            if place is None:
                break
            pages.append(place)
        return pages

    def _take(self, page: int) -> None:
        self._idle.pop(page, None)
        self._readers[page] = self._readers.get(page, 0) + 1

    def _new(self) -> int:
        page = self._free.pop() if self._free else self._forget()
        self._readers[page] = 1
        return page

    def _register(self, page: int, key: Key) -> int:
        self._serial += 1
        self._by_key[key] = (page, self._serial)
        self._keys[page] = key
        return self._serial

    def _forget(self) -> int:
        """Take the page that was idle longest. Pages that came after it in a prompt are never found again."""
        page, _ = self._idle.popitem(last=False)
        del self._by_key[self._keys.pop(page)]
        return page
