"""File names that are spelt otherwise in two places: other folders in front of them, other endings behind them.

Names are matched by what they end in: ``/data/val/cat/007.JPEG`` is ``cat/007.jpg``, and both are ``007``, as long as
no second name ends so.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from lightning_failures.errors import InputError

__all__ = ["FileNames", "match_file_names"]

_ENDING = re.compile(
    r"\.(jpe?g|jfif|png|bmp|tiff?|gif|webp|avif|heic|jp2|npy|npz|pt|pth|dcm|nii|mha|mat|h5|hdf5?|pgm|ppm|raw|svs)(\.gz)?$"
)

Parts = tuple[str, ...]


class FileNames:
    """Names of files, found under other spellings too.

    Args:
        names: each once.

    Example:
        >>> names = FileNames(["cat/007.jpg", "dog/007.jpg"])
        >>> names.find(["/data/val/dog/007.JPEG", "bird/1.jpg"], "example")
        [1, -1]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._ends: dict[bool, tuple[dict[Parts, list[int]], dict[Parts, list[int]]]] = {}

    def find(self, keys: Sequence[str], where: str, taken: Collection[int] = ()) -> list[int]:
        """Position of the name that ends as a key does, or that a key ends in; -1 where there is none.

        Endings are compared where both have one and agree; then without them.

        Args:
            keys: each once.
            where: the public name to put into an error.
            taken: positions that are some other key's.

        Raises:
            InputError: a key fits several names, or several keys fit one name.
        """
        found, gone = [-1] * len(keys), set(taken)
        for ending in (True, False):
            whole, tails = self._indices(ending)
            fits: dict[int, str] = {}
            for place, key in enumerate(keys):
                if found[place] >= 0:
                    continue
                parts = _parts(key, ending)
                rows = tails.get(parts) or next((whole[end] for end in _tails(parts) if end in whole), [])
                if not set(rows) - gone:
                    continue
                if len(rows) > 1:
                    raise _ambiguous(where, key, [self.names[row] for row in rows])
                if rows[0] in fits:
                    raise _ambiguous(where, self.names[rows[0]], [fits[rows[0]], key])
                fits[rows[0]], found[place] = key, rows[0]
            gone |= set(fits)
        return found

    def find_in_other_folders(self, keys: Sequence[str], where: str) -> list[int]:
        """Position of the name that ends as a key does, though other folders stand before both; -1 where there is none.

        As many folders are compared as it takes to tell the names apart.

        Args:
            keys: each once; all that there are.
            where: the public name to put into an error.

        Raises:
            InputError: names cannot be told apart by what they have in common.
        """
        ways = [self._in_other_folders(keys, ending) for ending in (True, False)]
        found = max(ways, key=lambda way: sum(row >= 0 for row in way))
        if all(row < 0 for row in found):
            known, asked = (_by_end([_parts(name, False) for name in many], 1) for many in (self.names, keys))
            for end in sorted(known.keys() & asked.keys()):
                rows, places = known[end], asked[end]
                if len(rows) > 1:
                    raise _ambiguous(where, keys[places[0]], [self.names[row] for row in rows])
                if len(places) > 1:
                    raise _ambiguous(where, self.names[rows[0]], [keys[place] for place in places])
        return found

    def _in_other_folders(self, keys: Sequence[str], ending: bool) -> list[int]:
        """Matched by as many folders as it takes, with the ending or without it."""
        names, others = ([_parts(name, ending) for name in many] for many in (self.names, keys))
        found = [-1] * len(keys)
        for depth in range(1, max((len(parts) for parts in (*names, *others)), default=0) + 1):
            known, asked = _by_end(names, depth), _by_end(others, depth)
            shared = known.keys() & asked.keys()
            if any(len(known[end]) > 1 or len(asked[end]) > 1 for end in shared):
                continue
            folders = {parts[-depth - 1 : -depth] for parts in names} & {parts[-depth - 1 : -depth] for parts in others}
            for end in shared:
                (row,), (place,) = known[end], asked[end]
                one, other = names[row][-depth - 1 : -depth], others[place][-depth - 1 : -depth]
                if one == other or not (one and other and {one, other} <= folders):  # cat/1.jpg is not dog/1.jpg
                    found[place] = row
            break
        return found

    def _indices(self, ending: bool) -> tuple[dict[Parts, list[int]], dict[Parts, list[int]]]:
        """Positions by whole names, and by all that names end in."""
        if ending not in self._ends:
            whole: dict[Parts, list[int]] = {}
            tails: dict[Parts, list[int]] = {}
            for row, name in enumerate(self.names):
                parts = _parts(name, ending)
                whole.setdefault(parts, []).append(row)
                for end in _tails(parts):
                    tails.setdefault(end, []).append(row)
            self._ends[ending] = whole, tails
        return self._ends[ending]


def match_file_names(names: FileNames, exact: Sequence[int], keys: Sequence[str], where: str) -> list[int]:
    """Positions of keys among names, where some were not found as they are spelt.

    Args:
        names: among which they are.
        exact: positions of the keys as they are spelt, -1 where there is none.
        keys: each once; all that there are.
        where: the public name to put into an error.

    Raises:
        InputError: a key fits several names, or several keys fit one name.

    Example:
        >>> match_file_names(FileNames(["a.jpg", "b.jpg"]), [-1, -1], ["x/b.JPEG", "x/c.JPEG"], "example")
        [1, -1]
    """
    found = list(exact)
    absent = [place for place, row in enumerate(found) if row < 0]
    taken = {row for row in found if row >= 0}
    if not absent or len(taken) == len(names.names):
        return found
    for place, row in zip(absent, names.find([keys[place] for place in absent], where, taken), strict=True):
        found[place] = row
    return found if any(row >= 0 for row in found) else names.find_in_other_folders(keys, where)


def _parts(name: str, ending: bool) -> Parts:
    """Folders and name in small letters, with the ending or without it."""
    parts = [part for part in name.strip().replace("\\", "/").casefold().split("/") if part not in ("", ".")]
    if parts and not ending:
        parts[-1] = _ENDING.sub("", parts[-1])
    return tuple(parts)


def _tails(parts: Parts) -> Iterable[Parts]:
    """All that a name ends in, the longest first."""
    return (parts[start:] for start in range(len(parts)))


def _by_end(many: Sequence[Parts], depth: int) -> dict[Parts, list[int]]:
    found: dict[Parts, list[int]] = {}
    for place, parts in enumerate(many):
        if parts:
            found.setdefault(parts[-depth:], []).append(place)
    return found


def _ambiguous(where: str, name: str, others: Sequence[str]) -> InputError:
    more = ", ..." if len(others) > 3 else ""
    given = f"{name}, which may be {' or '.join(others[:3])}{more}"
    return InputError(where, "a file name fits more than one image", given, "Spell file names alike in both places.")
