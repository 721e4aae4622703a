"""Factors of a batch from a table beside the dataset: by row, by id, or by file name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset

from lightning_failures.data import FactorDataset, FactorTable, file_names
from lightning_failures.errors import FailuresError, InputError, UnknownNameError
from lightning_failures.observe.dataset_rows import DatasetRows
from lightning_failures.observe.factor_reader import FactorReader

pytest.importorskip("pandas")

ANNOTATIONS = ";file_name;class;dark\r\n0;c.jpg;cat;1\r\n1;a.jpg;dog;0\r\n2;b.jpg;cat;1\r\n"
DARK = {"a": False, "b": True, "c": True}


class Files(Dataset[Any]):
    """Images that say their files, as torchvision's folders or as people write it."""

    def __init__(self, *names: str, said: str = "samples") -> None:
        setattr(self, said, [(name, 0) for name in names] if said in ("samples", "imgs") else list(names))
        self.length = len(names)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(3), 0


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "annotations.csv").write_text(ANNOTATIONS, newline="")
    return str(tmp_path / "annotations.csv")


def read(reader: FactorReader, dataset: Any, batch: Any = (), batch_idx: int = 0) -> list[bool]:
    found = reader.read(batch, 2, DatasetRows(DataLoader(dataset, batch_size=2)), batch_idx)
    assert reader.names == ("dark",)
    return found[:, 0].tolist()


def message(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args, **kwargs)
    return str(error.value)


@pytest.mark.parametrize("said", ["samples", "imgs", "files", "paths", "file_names", "image_paths", "image_files"])
def test_a_file_with_file_names_is_joined_by_those_of_the_dataset(path: str, said: str) -> None:
    dataset = Files("/data/a.JPEG", "/data/b.JPEG", "/data/c.JPEG", said=said)
    reader = FactorReader(path)
    assert read(reader, dataset) == [DARK["a"], DARK["b"]]
    assert read(reader, Files("b.jpg", "a.jpg"), batch_idx=0) == [DARK["b"], DARK["a"]]  # another dataset, as in a test


def test_subsets_and_datasets_on_end_say_their_files(path: str) -> None:
    dataset = Subset(ConcatDataset([Files("a.jpg"), Files("b.jpg", "c.jpg", said="files")]), [2, 0])
    assert file_names(dataset) == ["c.jpg", "a.jpg"]
    assert read(FactorReader(Path(path)), dataset) == [DARK["c"], DARK["a"]]
    table = FactorReader(path).table
    assert table is not None
    assert file_names(FactorDataset(Files("z.jpg", "b.jpg"), table, missing="drop")) == ["b.jpg"]


def test_a_dataset_without_file_names_does_not_say_any() -> None:
    tensors = TensorDataset(torch.zeros(2, 1))
    assert file_names(tensors) is None
    assert file_names(ConcatDataset([Files("a.jpg"), tensors])) is None
    tensors.samples = [(torch.zeros(1), 0)] * 2  # type: ignore[attr-defined]
    tensors.files = ["one.jpg"]  # type: ignore[attr-defined]  # of something else
    assert file_names(tensors) is None


def test_a_file_with_file_names_is_joined_by_those_of_the_batch(path: str) -> None:
    tensors = TensorDataset(torch.zeros(2, 1))
    for name in ("file_name", "path", "image_path", "id"):
        assert read(FactorReader(path), tensors, {name: ["/x/c.png", "a.jpg"]}) == [DARK["c"], DARK["a"]]
    assert read(FactorReader(path, ids="names"), tensors, {"names": ["b.jpg", "c.jpg"]}) == [DARK["b"], DARK["c"]]


def test_a_file_with_file_names_that_nobody_else_has_says_how_to_join_it(path: str) -> None:
    said = message(read, FactorReader(path, where="FactorErrorMonitor"), TensorDataset(torch.zeros(3, 1)))
    assert said == (
        "FactorErrorMonitor(factors=...): the factor table cannot be joined to the batch; given ids such as 'c.jpg', "
        "no file names in the batch or its dataset. Name the field of the batch that holds each image's id: "
        "FactorErrorMonitor(..., ids='file_name'); or give the dataset the list of its files in the order of its "
        "images, as dataset.files; or, where row i is of image i, pass FactorTable.from_frame(..., columns=[...])."
    )


def test_a_loader_in_an_order_of_its_own_needs_file_names_in_the_batch(path: str) -> None:
    rows = DatasetRows(DataLoader(Files("a.jpg", "b.jpg"), batch_size=2, shuffle=True))
    assert FactorReader(path).read({"file_name": ["c.jpg", "a.jpg"]}, 2, rows, 0).tolist() == [[True], [False]]
    said = message(FactorReader(path).read, (), 2, rows, 0)
    assert "given ids such as 'c.jpg', a loader in an order of its own. Name the field" in said


def test_files_that_the_table_lacks_are_named_in_both_spellings(path: str) -> None:
    assert message(read, FactorReader(path, where="M"), Files("img-1.jpg", "a.jpg")) == (
        "M(factors=...): 1 of 2 images have no row; given img-1.jpg; the table has ids such as c.jpg. "
        "Leave these images out, complete the table, or key it by the same names."
    )


def test_a_file_without_file_names_is_joined_by_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("index,class,dark\n0,5,1\n1,7,0\n2,5,0\n")
    assert read(FactorReader(str(path)), TensorDataset(torch.zeros(3, 1))) == [True, False]
    path.write_text("index,class,dark\n2,5,1\n1,7,0\n0,5,0\n")
    assert message(FactorReader, str(path), where="M") == (
        "M(factors=...): rows are numbered, and do not stand in that order; given index: 2, 1, 0, .... Leave the "
        f"numbers out of the file, or join by them: FactorTable.from_frame({str(path)!r}, key='index') and ids=."
    )


def test_a_column_that_is_no_factor_says_what_to_do_with_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("who,dark\n" + "".join(f"person {row},{row % 2}\n" for row in range(70)))
    call = f"FactorTable.from_frame({str(path)!r}"
    assert message(FactorReader, str(path), where="M") == (
        "M(factors=...): a column is no factor; given who with 70 different words. Where it names the images, pass "
        f"{call}, key='who') and ids=; else leave it out of the file."
    )
    path.write_text("size,dark\n4,1\n5,0\n")
    assert message(FactorReader, str(path), where="M") == (
        "M(factors=...): a column is no factor; given size with numbers beside 0 and 1. "
        f"Cut it, {call}, edges={{'size': [...]}}), or leave the column out of the file."
    )
    path.write_text("wet,dark\n1,1\n,0\n")
    assert message(FactorReader, str(path), where="M") == (
        "M(factors=...): a factor has empty cells; given 1 in wet. Fill them in, or leave the column out of the file."
    )


def of_scanner(scanner: Any, names: list[str]) -> list[list[bool]]:
    reader = FactorReader("meta.scanner", names=names, where="FactorErrorMonitor")
    batch = {"meta": {"scanner": scanner}}
    return reader.read(batch, len(scanner), DatasetRows(DataLoader(Files("a", "b", "c"))), 0).tolist()


def test_a_word_or_a_position_for_each_image_is_one_factor_of_several() -> None:
    columns = [[True, False], [False, True], [True, False]]
    assert of_scanner(["A", "B", "A"], ["A", "B"]) == columns
    assert of_scanner(torch.tensor([0, 1, 0]), ["A", "B"]) == columns
    assert of_scanner(torch.tensor(columns), ["A", "B"]) == columns
    assert of_scanner(torch.tensor([1, 0, 1]), ["A"]) == [[True], [False], [True]]  # the factor itself
    assert of_scanner(torch.tensor([True, False, True]), ["A"]) == [[True], [False], [True]]


@pytest.mark.parametrize(
    ("scanner", "said"),
    [
        (
            ["A", "C", "A"],
            "the batch holds words that are no names of factors; given 'C' where names=['A', 'B']. "
            "Name all of them: names=['A', 'B', ...].",
        ),
        (
            torch.tensor([1, 2, 1]),
            "the factor numbers are not positions of the names; given 1, 2 for 2 names. Give whole numbers from 0, the "
            "position of each image's name in names=, or a matrix of bool.",
        ),
        (
            torch.tensor([0.5, 0.1, 0.2]),
            "the factor numbers are not positions of the names; given float32 numbers. Give whole numbers from 0, the "
            "position of each image's name in names=, or a matrix of bool.",
        ),
    ],
)
def test_words_and_numbers_that_name_no_factor_are_refused(scanner: Any, said: str) -> None:
    with pytest.raises(FailuresError) as error:
        of_scanner(scanner, ["A", "B"])
    assert str(error.value) == f"FactorErrorMonitor(factors=...): {said}"


def test_words_without_names_ask_for_names() -> None:
    reader = FactorReader("scanner", where="FactorErrorMonitor")
    with pytest.raises(UnknownNameError, match=r"Name all of them: names=\['A', 'B', \.\.\.\]\.$"):
        reader.read({"scanner": ["A", "B"]}, 2, DatasetRows(DataLoader(Files("a", "b"))), 0)


def test_a_table_without_ids_is_joined_by_row_where_ids_are_names_for_something_else() -> None:
    table = FactorTable(("dark",), torch.tensor([[1], [0], [0], [1]]))
    tensors = TensorDataset(torch.zeros(4, 3))
    assert read(FactorReader(table, ids="file"), tensors, {"file": ["a.png", "b.png"]}, 1) == [False, True]


def test_ids_that_are_whole_numbers_are_rows_of_a_table_without_ids() -> None:
    table = FactorTable(("dark",), torch.tensor([[1], [0], [0], [1]]))
    tensors, some = TensorDataset(torch.zeros(4, 3)), Subset(TensorDataset(torch.zeros(4, 3)), [3, 1])
    assert read(FactorReader(table, ids="i"), tensors, {"i": torch.tensor([2, 3])}, 1) == [False, True]
    assert read(FactorReader(table, ids="i"), some, {"i": torch.tensor([3, 1])}) == [True, False]
    assert message(read, FactorReader(table, ids="i"), tensors, {"i": torch.tensor([2, 0])}, 1) == (
        "FactorReader(ids=...): the factor table has no ids, and these are not its rows; given id 0 for the image of "
        "dataset row 3. Give the table the ids of its rows, FactorTable(names, values, ids), or leave ids out."
    )
