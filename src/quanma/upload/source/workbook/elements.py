"""A part that is a long list of like elements, rows or texts, read in blocks: quickly where possible, and always right.

A block is a run of whole elements. A reader's quick way may decline a block; then expat reads it, behind the part's
own head. Where a block alone is no well-formed XML, expat reads all that is left, in one go. So expat decides what a
part means, and the quick way has to agree with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, Protocol, TypeVar

from .markup import TOKEN_BYTES_MAX, Attributes, Damaged, Markup

T = TypeVar("T", covariant=True)


class Reader(Protocol[T]):
    """How the elements of one kind of list are read."""

    root: str
    container: str
    """Whose children the elements are; it may be the root."""
    element: str

    def quick(self, block: bytes) -> T | None:
        """Read whole elements without a parser, or return None: only where expat would say the same."""
        ...

    def by_expat(self) -> Expat[T]:
        """Begin to read what stands behind all that was taken so far."""
        ...


class Expat(Protocol[T]):
    """Handlers of the whole part, from its head on."""

    def start(self, name: str, attributes: Attributes) -> None: ...
    def end(self, name: str) -> None: ...
    def text(self, text: str) -> None: ...

    def take(self) -> T:
        """Return what was read since the last time."""
        ...

    def settle(self) -> None:
        """What was read counts: the reader goes on behind it."""
        ...


def batches(pieces: Iterator[bytes], reader: Reader[T]) -> Iterator[T]:
    """Read a part from its pieces. Raises Damaged: it is not well-formed, or not what it should be."""
    begun = _Begun(pieces, reader)
    if begun.head is None:
        yield from _all_by_expat(chain((begun.rest,), pieces), reader)
        return
    ends = b"</%s>" % reader.element.encode()
    closing = _closing(reader)
    rest = begun.rest
    for piece in chain((b"",), pieces):
        rest += piece
        end = rest.rfind(ends) + len(ends)
        if end < len(ends):
            if len(rest) > TOKEN_BYTES_MAX:
                yield from _all_by_expat(chain((begun.head + rest,), pieces), reader)
                return
            continue
        block, rest = rest[:end], rest[end:]
        found = reader.quick(block)
        if found is None:
            expat = reader.by_expat()
            try:
                _markup(expat).read(iter((begun.head, block, closing)))
            except Damaged:
                # A comment over several blocks, or real damage: expat finds out.
                yield from _all_by_expat(chain((begun.head + block + rest,), pieces), reader)
                return
            expat.settle()
            found = expat.take()
        yield found
    # Behind the last whole element; a part that was cut off fails here.
    yield from _all_by_expat(iter((begun.head + rest,)), reader)


def _all_by_expat(pieces: Iterator[bytes], reader: Reader[T]) -> Iterator[T]:
    expat = reader.by_expat()
    markup = _markup(expat)
    for piece in chain.from_iterable(map(_slices, pieces)):
        markup.feed(piece)
        yield expat.take()
    markup.feed(b"", last=True)
    expat.settle()
    yield expat.take()


class _Begun:
    """The beginning of a part: its head up to its first element, if the part can be cut there, and what was read."""

    def __init__(self, pieces: Iterator[bytes], reader: Reader[object]) -> None:
        self.head: bytes | None = None
        self.rest = b""
        opened: list[int] = []

        def start(name: str, attributes: Attributes) -> None:
            if name == reader.container and not opened:
                opened.append(markup.place)

        markup = Markup(start)
        for piece in pieces:
            self.rest += piece
            markup.feed(piece)
            if opened or len(self.rest) > TOKEN_BYTES_MAX:
                break
        if not opened or not _UTF_8.match(self.rest):
            return
        tag = re.compile(_TAG % reader.container.encode()).match(self.rest, opened[0])
        if tag is None:
            return
        head = self.rest[: tag.end()]
        try:
            Markup(_nothing).read(iter((head, _closing(reader))))
        except Damaged:
            return
        self.head, self.rest = head, self.rest[tag.end() :]


_UTF_8: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:<\?xml version=[\"']1\.0[\"'](?: encoding=[\"'](?i:utf-8)[\"'])?[^?>&<]*\?>|<(?!\?))"
)
_TAG: Final = rb"<%s(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*>"


def _closing(reader: Reader[object]) -> bytes:
    names = dict.fromkeys((reader.container, reader.root))
    return b"".join(b"</%s>" % name.encode() for name in names)


def _markup(expat: Expat[object]) -> Markup:
    return Markup(expat.start, expat.end, expat.text)


def _nothing(name: str, attributes: Attributes) -> None: ...


_SLICE_BYTES: Final = 256 * 1024


def _slices(piece: bytes) -> Iterator[bytes]:
    """What expat's handlers gather is taken after each: small ones bound it."""
    return (piece[start : start + _SLICE_BYTES] for start in range(0, len(piece), _SLICE_BYTES))
