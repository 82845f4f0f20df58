"""Page tables of the KV cache: prompts in pages that rows share, answers in pages of their own.

A prompt page is identified by all tokens up to its end, so prompts share their common prefix up to the last whole page
(Kwon et al. 2023, vLLM). Unused prompt pages are kept for later prompts until they are needed or too many. Handles page
numbers only: the decoder holds the keys and values.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

Key = tuple[int, tuple[int, ...]]  # serial number of the previous page, tokens of this page


@dataclass(frozen=True, slots=True)
class Lease:
    """The pages of one row."""

    prompt: tuple[int, ...]  # in prompt order; the last may be partly filled
    own: tuple[int, ...]  # of the answer; whole pages may be shared with forks
    known: int  # prompt tokens covered by earlier leases, so already computed when this one is prefilled


def pages_of(tokens: int, page: int) -> int:
    """The pages of `page` tokens that hold these tokens."""
    return -(-tokens // page)


class PagePool:
    """Allocator of pages 0..count-1 of `page` tokens. Keeps up to `keep` unused prompt pages for later prompts."""

    def __init__(self, count: int, keep: int, page: int) -> None:
        self.page = page
        self._free = list(range(count))[::-1]  # popped from the end: low pages are reused before others are touched
        self._keep = keep
        self._readers: dict[int, int] = {}
        self._serial = 0
        self._by_key: dict[Key, tuple[int, int]] = {}  # page, serial number
        self._keys: dict[int, Key] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # unused prompt pages, oldest first

    @property
    def available(self) -> int:
        return len(self._free) + len(self._idle)

    def lease(self, prompt: Sequence[int], new_tokens: int, share: bool = True) -> Lease | None:
        """Reserve pages for a prompt and `new_tokens` more; None if too few are available.

        Without `share`, the row shares no pages with others.
        """
        parts = [tuple(prompt[start : start + self.page]) for start in range(0, len(prompt), self.page)]
        known_pages = self._find(parts) if share else []
        idle = sum(page in self._idle for page, _ in known_pages)
        own_count = pages_of(new_tokens, self.page)
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
        return Lease(tuple(pages), own, known=min(len(prompt), len(known_pages) * self.page))

    def fork(self, lease: Lease, whole: int, new_tokens: int) -> Lease | None:
        """A lease of the same prompt whose answer shares the first `whole` pages; None if too few are available."""
        own_count = pages_of(new_tokens, self.page)
        if self.available < own_count - whole:
            return None
        for page in (*lease.prompt, *lease.own[:whole]):
            self._take(page)
        own = (*lease.own[:whole], *(self._new() for _ in range(own_count - whole)))
        return Lease(lease.prompt, own, known=lease.known)

    def extend(self, lease: Lease, new_tokens: int) -> Lease | None:
        """The lease with pages for `new_tokens` in its answer; None if too few are available."""
        more = pages_of(new_tokens, self.page) - len(lease.own)
        if self.available < more:
            return None
        return replace(lease, own=(*lease.own, *(self._new() for _ in range(more))))

    def release(self, lease: Lease) -> None:
        """Return the pages. Later prompts can reuse the prompt's pages until they are needed for something else."""
        for page in (*lease.own, *reversed(lease.prompt)):  # reversed: the end of a prompt is forgotten first
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
        """Page and serial number of each leading part that is already stored."""
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
        """Free the page that was idle longest. Later pages of the same prompt can no longer be found."""
        page, _ = self._idle.popitem(last=False)
        del self._by_key[self._keys.pop(page)]
        return page
