"""File names that are spelt otherwise in two files."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_failures.data.factor_table import FactorTable
from lightning_failures.data.file_names import FileNames, match_file_names
from lightning_failures.errors import InputError


def match(names: list[str], keys: list[str]) -> list[int]:
    exact = [names.index(key) if key in names else -1 for key in keys]
    return match_file_names(FileNames(names), exact, keys, "factors")


@pytest.mark.parametrize(
    ("names", "keys", "found"),
    [
        (["a.jpg", "b.jpg"], ["b.jpg", "a.jpg"], [1, 0]),
        (["a.jpg", "b.jpg"], ["b.JPEG", "a.JPEG"], [1, 0]),
        (["a.jpg", "b.jpg"], ["b", "a"], [1, 0]),
        (["a.jpg", "b.jpg"], ["/data/val/b.jpg", "C:\\val\\a.jpg"], [1, 0]),
        (["./val/a.jpg"], ["a.jpg"], [0]),
        (["cat/1.jpg", "dog/1.jpg"], ["/x/dog/1.png", "/x/cat/1.png"], [1, 0]),
        (["/x/cat/1.jpg", "/x/dog/1.jpg"], ["/y/dog/1.png", "/y/cat/1.png"], [1, 0]),  # one folder more tells them
        (["/x/a.jpg", "/x/a.png"], ["/y/a.png", "/y/a.jpg"], [1, 0]),  # the ending tells them
        (["/x/a.jpg", "/x/b.jpg"], ["/y/b.png", "/y/c.png"], [1, -1]),
        (["a.jpg"], ["a.jpg", "x/a.jpg", "b.jpg"], [0, -1, -1]),  # as it is spelt comes first
        (["cat/1.jpg"], ["/x/dog/1.jpg", "/x/cat/1.jpg"], [-1, 0]),
        (["cat/1.jpg", "dog/2.jpg"], ["dog/1.jpg", "cat/2.jpg"], [-1, -1]),  # folders that both know, and others
        (["scan.001", "scan.002"], ["/x/scan.002", "/x/scan.001"], [1, 0]),  # no ending of an image
        (["a.nii.gz"], ["a"], [0]),
        (["a.jpg"], ["b.jpg"], [-1]),
        (["1.jpg"], ["01.jpg"], [-1]),
        ([], ["a"], [-1]),
    ],
)
def test_names_are_matched_by_what_they_end_in(names: list[str], keys: list[str], found: list[int]) -> None:
    assert match(names, keys) == found


@pytest.mark.parametrize(
    ("names", "keys", "text"),
    [
        (["a.jpg"], ["a.png", "a.bmp"], "a.jpg, which may be a.png or a.bmp"),
        (["a.png", "a.bmp"], ["a"], "a, which may be a.png or a.bmp"),
        (["cat/1.jpg", "dog/1.jpg"], ["1.jpg"], "1.jpg, which may be cat/1.jpg or dog/1.jpg"),
        (["/x/1.jpg"], ["/y/1.jpg", "/z/1.jpg"], "/x/1.jpg, which may be /y/1.jpg or /z/1.jpg"),
        (["/x/1.jpg", "/z/1.jpg"], ["/y/1.jpg"], "/y/1.jpg, which may be /x/1.jpg or /z/1.jpg"),
    ],
)
def test_a_stem_that_stands_twice_is_refused(names: list[str], keys: list[str], text: str) -> None:
    with pytest.raises(InputError) as error:
        match(names, keys)
    assert str(error.value) == (
        f"factors: a file name fits more than one image; given {text}. Spell file names alike in both places."
    )


names = st.lists(st.from_regex(r"[ab]{1,2}(/[ab]{1,2}){0,2}\.(jpg|png)", fullmatch=True), unique=True, max_size=8)


@given(names, names)
def test_no_two_keys_are_one_name_and_a_name_as_it_is_spelt_is_itself(known: list[str], asked: list[str]) -> None:
    try:
        found = match(known, asked)
    except InputError:
        return
    rows = [row for row in found if row >= 0]
    assert len(set(rows)) == len(rows)
    assert all(known[row] == key for key, row in zip(asked, found, strict=True) if key in known)


@given(names, st.sampled_from(["/data/", "C:\\x\\", "./", ""]), st.randoms())
def test_names_in_another_folder_with_another_ending_are_all_found(known: list[str], folder: str, draw: object) -> None:
    stems = {name.rsplit(".", 1)[0] for name in known}
    known = sorted(f"{stem}.jpg" for stem in stems)
    keys = [f"{folder}{name.replace('.jpg', '.JPEG')}" for name in reversed(known)]
    ends = [name for name in known if sum(other.endswith(f"/{name}") or other == name for other in known) > 1]
    if not ends:  # no name is the end of another one
        assert match(known, keys) == list(reversed(range(len(known))))


def test_a_table_finds_its_ids_under_other_spellings_batch_by_batch() -> None:
    values = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.bool)
    table = FactorTable(("dark", "wet"), values, ("cat/1.jpg", "dog/1.jpg", "dog/2.jpg"))
    assert table.find(["/x/dog/1.JPEG", "2.png"]).tolist() == [1, 2]
    assert table.find(["/x/dog/1.JPEG", "/x/dog/1.JPEG"]).tolist() == [1, 1]  # a sampler may repeat an image
    assert table.find(["3.jpg", "bird/2.jpg"]).tolist() == [-1, -1]
    assert table.find(["/x/dog/1.JPEG"], spelt_alike=True).tolist() == [-1]
    with pytest.raises(InputError, match=r"given /x/dog/1\.JPEG and /y/dog/1\.JPEG for one row"):
        table.find(["/y/dog/1.JPEG"])
    with pytest.raises(InputError, match=r"given 1\.jpg, which may be cat/1\.jpg or dog/1\.jpg"):
        table.find(["1.jpg"])
