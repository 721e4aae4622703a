"""Columns of plain ASCII tables, cut out where their bytes stand; all other tables are left to a tolerant reader.

What programs write is nearly always plain: one separator, no quotes, no white space, no empty cells. Then the places of
the separators say all, and numpy finds them many times faster than a reader of any table reads them.
"""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PlainColumn", "PlainTable", "line_ends", "plain_column", "read_plainly", "windows"]

_NEWLINE, _COMMA, _ZERO = b"\n,0"  # no byte of ASCII up to the comma but these two stands in a plain table
_WORD = 8  # bytes that are compared at once
_AT_ONCE = 1 << 18  # bytes that are looked through at once, so that they stay near the processor
_MOST_FILLED = 8  # times the file's bytes
_MOST_DIGITS = 15  # every number of so many is one of int64 and of float64


class PlainColumn(NamedTuple):
    """The cells of one column, none of them empty."""

    cells: "NDArray[np.uint8]"  # (n w), filled up with zeros
    lengths: "NDArray[np.int64]"  # (n), bytes of each

    def words(self) -> list[str]:
        """The cells as they are written."""
        import numpy as np

        rows, width = self.cells.shape
        lines = np.full((rows, width + 1), _NEWLINE, dtype=np.uint8)
        lines[:, :width] = self.cells
        return lines.tobytes().replace(b"\0", b"").decode("ascii").split("\n")[:-1]

    def equals(self, other: "PlainColumn") -> bool:
        """Whether another column has the same cells."""
        import numpy as np

        return np.array_equal(self.cells, other.cells)  # no cell holds a zero of its own

    def find(self, other: "PlainColumn") -> "NDArray[np.int64] | None":
        """Where this column holds each cell of another one; -1 where it does not.

        Returns:
            Rows of this column; (m). None where one of its cells stands twice, or seems to.
        """
        import numpy as np

        width = -(-max(self.cells.shape[1], other.cells.shape[1]) // _WORD) * _WORD
        own, asked = _in_words(self.cells, width), _in_words(other.cells, width)
        hashes, wanted = _hashes(own), _hashes(asked)
        order, questions = hashes.argsort(), wanted.argsort()  # in order they are found faster
        hashes = hashes[order]
        if (hashes[1:] == hashes[:-1]).any():
            return None
        places = np.searchsorted(hashes, wanted[questions]).clip(max=len(order) - 1)
        found = np.empty(len(asked), dtype=np.int64)
        found[questions] = order[places]
        return np.where(reduce(np.logical_and, (own[found] == asked).T), found, -1)

    def is_unique(self) -> bool:
        """Whether no cell stands twice; False also where it seems so."""
        hashes = _hashes(_in_words(self.cells, -(-self.cells.shape[1] // _WORD) * _WORD))
        hashes.sort()
        return not (hashes[1:] == hashes[:-1]).any()

    def whole_numbers(self) -> "NDArray[np.int64] | None":
        """The cells as whole numbers; (n); None where one is no number of up to 15 digits."""
        import numpy as np

        width = self.cells.shape[1]
        if width > _MOST_DIGITS:
            return None
        numbers = np.zeros(len(self.cells), dtype=np.int64)
        for place in range(width):
            digit, there = self.cells[:, place] - np.uint8(_ZERO), self.lengths > place  # others wrap to above 9
            if (there & (digit > 9)).any():
                return None
            numbers = np.where(there, numbers * 10 + digit, numbers)
        return numbers


def _in_words(cells: "NDArray[np.uint8]", width: int) -> "NDArray[np.uint64]":
    """Cells of so many bytes, a multiple of eight, as numbers of eight bytes."""
    import numpy as np

    return np.pad(cells, ((0, 0), (0, width - cells.shape[1]))).view(np.uint64)


def _hashes(words: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    """One number for each row, which tells rows apart but for chance."""
    import numpy as np

    factors = np.random.default_rng(0).integers(1 << 63, size=words.shape[1], dtype=np.uint64)
    return words @ (2 * factors + 1)


def plain_column(words: Sequence[str]) -> PlainColumn | None:
    """A column of these words; None where one is empty, no ASCII, far longer than the others, or
    holds a line feed or a zero.

    Example:
        >>> plain_column(["b.png", "a.png"]).find(plain_column(["a.png", "c.png"])).tolist()
        [1, -1]
    """
    import numpy as np

    text = "\n".join(words)
    if not text or not text.isascii() or "\0" in text:
        return None
    content = text.encode()
    ends = line_ends(content + b"\n")
    starts = np.concatenate([[0], ends[:-1] + 1])
    return _cut(content, starts, ends - starts) if len(ends) == len(words) else None


def _cut(content: bytes, starts: "NDArray[np.int64]", lengths: "NDArray[np.int64]") -> PlainColumn | None:
    """Cells of these lengths; None where one is empty, or so long that filling up the others takes much memory."""
    import numpy as np

    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest < 1 or longest * len(lengths) > _MOST_FILLED * len(content):
        return None
    cells = windows(content, starts, longest)
    if shortest < longest:
        cells *= np.arange(longest) < lengths[:, None]
    return PlainColumn(cells, lengths)


class PlainTable:
    """A plain CSV table: its columns by the names in its first line.

    Args:
        content: the whole file.
        names: of its columns; c of them.
        ends: where the cells end, those of the first line too; (1 + n, c).
    """

    def __init__(self, content: bytes, names: tuple[str, ...], ends: "NDArray[np.int64]") -> None:
        self.names = names
        self._content, self._ends = content, ends

    def column(self, name: str) -> PlainColumn | None:
        """The cells of one column; None where one is empty, or far longer than the others."""
        place = self.names.index(name)
        starts = (self._ends[1:, place - 1] if place else self._ends[:-1, -1]) + 1
        return _cut(self._content, starts, self._ends[1:, place] - starts)


def read_plainly(content: bytes) -> PlainTable | None:
    r"""A plain CSV table; None where it is not plain.

    Plain is what every reader reads alike: ASCII, commas and the ends of lines, as many cells in each row as there
    are different names, two or more, and a row beside the names; no white space, no semicolon, none of
    ``!"#$%&'()*+``.

    Args:
        content: the whole file.

    Example:
        >>> table = read_plainly(b"file,class\na.png,7\nbb.png,12\n")
        >>> table.column("file").words(), table.column("class").whole_numbers().tolist()
        (['a.png', 'bb.png'], [7, 12])
        >>> read_plainly(b"file;class\na.png;7\n") is None
        True
    """
    import numpy as np

    if b";" in content or not content.isascii():
        return None
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    names = tuple(content[: max(content.find(b"\n"), 0)].decode("ascii").split(","))
    buffer = np.frombuffer(content if content.endswith(b"\n") else content + b"\n", dtype=np.uint8)
    ends = np.flatnonzero(buffer <= _COMMA)
    if "" in names or not 1 < len(set(names)) == len(names) or len(ends) % len(names) or len(ends) == len(names):
        return None
    cells = ends.reshape(-1, len(names))
    marks = np.array([_COMMA] * (len(names) - 1) + [_NEWLINE], dtype=np.uint8)
    return PlainTable(content, names, cells) if (buffer[cells] == marks).all() else None


def line_ends(content: bytes) -> "NDArray[np.int64]":
    """Where the lines end: the places of their line feeds, or behind the last byte; (n)."""
    import numpy as np

    buffer = np.frombuffer(content, dtype=np.uint8)
    pieces = [
        np.flatnonzero(buffer[start : start + _AT_ONCE] == _NEWLINE) + start
        for start in range(0, len(buffer), _AT_ONCE)
    ]
    return np.concatenate(pieces if content.endswith(b"\n") or not content else [*pieces, [len(content)]])


def windows(content: bytes, starts: "NDArray[np.int64]", width: int) -> "NDArray[np.uint8]":
    """As many bytes from each start on; (n width), zeros behind the end.

    Args:
        content: the whole file.
        starts: places in it; (n).
        width: bytes of each window, 1 or more.
    """
    import numpy as np

    if lacking := max(int(starts.max(initial=0)) + width - len(content), 0):
        content += bytes(lacking)
    # one item of so many bytes begins at every place, so that taking one copies its bytes at once
    items = np.ndarray((len(content) - width + 1,), dtype=f"V{width}", buffer=content, strides=(1,))
    return items[starts].view(np.uint8).reshape(len(starts), width)
