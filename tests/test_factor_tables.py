from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset, default_collate

from lightning_failures import FactorDataset, FactorTable
from lightning_failures.data import find_rows
from lightning_failures.errors import InputError, UnknownNameError

VALUES = torch.tensor([[1, 0], [0, 1], [1, 1]], dtype=torch.bool)
TABLE = FactorTable(("dark", "blurred"), VALUES, ("a.png", "b.png", "c.png"))


class Folder(Dataset[Any]):
    """As torchvision's ImageFolder keeps its files."""

    def __init__(self, *paths: str, root: str = "/data", item: Any = None) -> None:
        self.root, self.samples, self.item = root, [(f"{root}/{path}", 0) for path in paths], item

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.item or (torch.tensor(index), 0)


def message(call: Any, *args: Any, error: type[Exception] = InputError, **kwargs: Any) -> str:
    with pytest.raises(error) as raised:
        call(*args, **kwargs)
    return str(raised.value)


def test_rows_come_in_the_order_asked_for() -> None:
    assert torch.equal(TABLE.rows(["c.png", "a.png", "c.png"]), VALUES[[2, 0, 2]])


def test_a_table_without_ids_is_asked_by_position() -> None:
    table = FactorTable(TABLE.names, VALUES)
    assert torch.equal(table.rows(torch.tensor([2, 0])), VALUES[[2, 0]])
    assert table.find([0, 3, -1]).tolist() == [0, -1, -1]


def test_missing_rows_are_counted_and_named() -> None:
    assert message(TABLE.rows, ["z.png", "a.png", "y.png", "x.png", "w.png"]) == (
        "FactorTable.rows: 4 of 5 images have no row; given z.png, y.png, x.png, ...; the table has ids such as a.png. "
        "Leave these images out, complete the table, or key it by the same names."
    )
    assert message(FactorTable(TABLE.names, VALUES).rows, [1, 7]) == (
        "FactorTable.rows: 1 of 2 images have no row; given 7; the table has positions 0 to 2. "
        "Leave these images out, complete the table, or key it by the same names."
    )


def test_names_cannot_be_looked_up_in_a_table_without_ids() -> None:
    assert message(FactorTable(TABLE.names, VALUES).rows, ["a.png"]) == (
        "FactorTable.find: the table has no ids to look up; given 'a.png'. "
        "Give the table ids, such as file names, or pass positions."
    )


def test_select_keeps_rows_and_takes_the_order_of_the_names() -> None:
    table = TABLE.select(["blurred", "dark"])
    assert table.names == ("blurred", "dark")
    assert torch.equal(table.rows(["a.png"]), torch.tensor([[False, True]]))


def test_an_unknown_factor_is_refused() -> None:
    assert message(TABLE.select, ["dark", "wet"], error=UnknownNameError) == (
        "FactorTable.select: factors are not in the table; given wet. Choose among dark, blurred."
    )


def test_a_factor_that_no_image_carries_is_refused() -> None:
    assert message(FactorTable, ("dark", "wet"), torch.tensor([[1, 0], [0, 0]])) == (
        "FactorTable: no image carries these factors; given wet in 2 rows. "
        "Leave these factors out, or correct the annotations."
    )


def test_a_table_of_the_wrong_shape_is_refused() -> None:
    assert message(FactorTable, ("dark",), VALUES) == (
        "FactorTable: values are not one column per name; given values (3, 2) for 1 names: dark. Pass values (n f)."
    )
    assert message(FactorTable, TABLE.names, VALUES, ("a", "b")) == (
        "FactorTable: ids and rows differ in number; given 2 ids for 3 rows. Pass one id a row."
    )


def test_duplicate_ids_are_refused() -> None:
    assert message(FactorTable, TABLE.names, VALUES, ("a", "b", "a")) == (
        "FactorTable: ids stand twice; given 1 ids more than once: a. Keep one row per image."
    )


def test_values_beside_zero_and_one_are_refused() -> None:
    assert message(FactorTable, ("dark",), torch.tensor([[0.0], [0.5], [1.0]])) == (
        "FactorTable: values are neither 0 nor 1; given 1 such values. "
        "Pass booleans; cut continuous columns with FactorTable.from_frame(edges=...)."
    )


# pandas and CSV


def test_columns_of_bits_words_and_numbers_become_factors() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(
        {
            "file": ["a", "b", "c", "d"],
            "dark": [True, False, True, False],
            "wet": [0, 1, 0, 1],
            "scanner": ["B", "A", "B", "A"],
            "size": [8.0, 16.0, 40.0, float("nan")],
        }
    )
    table = FactorTable.from_frame(frame, key="file", edges={"size": [16, 32.5]})
    assert table.names == ("dark", "wet", "scanner=A", "scanner=B", "size<16", "16<=size<32.5", "size>=32.5")
    assert table.rows(["a", "b", "c", "d"]).int().tolist() == [
        [1, 0, 0, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 1, 0],
        [1, 0, 0, 1, 0, 0, 1],
        [0, 1, 1, 0, 0, 0, 0],  # an empty cell is in no piece
    ]


@pytest.mark.parametrize("name", ["factors.csv", "factors.csv.gz"])
def test_a_csv_file_is_read_as_the_same_table(tmp_path: Path, name: str) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"file_name": ["007.png", "b.png"], "dark": [1, 0], "note": ["x", "y"]})
    frame.to_csv(tmp_path / name, index=False)
    table = FactorTable.from_frame(tmp_path / name, key="file_name", columns=["dark"])
    assert table.ids == ("007.png", "b.png")
    assert torch.equal(table.values, torch.tensor([[True], [False]]))


def test_a_key_of_positions_may_be_out_of_order() -> None:
    pd = pytest.importorskip("pandas")
    table = FactorTable.from_frame(pd.DataFrame({"index": [2, 0, 1], "dark": [1, 0, 0]}), key="index")
    assert table.rows([0, 1, 2]).squeeze(1).tolist() == [False, False, True]


def test_without_a_key_rows_are_positions() -> None:
    pd = pytest.importorskip("pandas")
    table = FactorTable.from_frame(pd.DataFrame({"dark": [0, 1]}, index=[7, 8]))
    assert table.rows([1, 0]).squeeze(1).tolist() == [True, False]


def test_columns_that_are_no_factors_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    where, read = "FactorTable.from_frame: ", FactorTable.from_frame
    fix = "Cut a continuous column with edges=, or leave it out with columns=."
    assert message(read, pd.DataFrame({"size": [0.5, 1.0]})) == (
        f"{where}a column is no factor; given size with numbers beside 0 and 1. {fix}"
    )
    assert message(read, pd.DataFrame({"note": [f"note {row}" for row in range(100)]})) == (
        f"{where}a column is no factor; given note with 100 different words. "
        "Join rows to images by it with key='note', or leave it out with columns=."
    )
    assert message(read, pd.DataFrame({"dark": [1, None, 0]})) == (
        f"{where}a factor has empty cells; given 1 in dark. Fill them in, or leave the column out with columns=."
    )
    assert message(read, pd.DataFrame({"file": ["a"]}), key="file") == (
        f"{where}no column is a factor; given columns file. Add a column of 0 and 1 for each factor."
    )
    assert message(read, pd.DataFrame({"file": ["a", None], "dark": [1, 0]}), key="file") == (
        f"{where}rows have no id; given 1 empty cells in file. Fill the key in."
    )


def test_bad_edges_are_refused() -> None:
    pd = pytest.importorskip("pandas")
    where, read = "FactorTable.from_frame: ", FactorTable.from_frame
    frame = pd.DataFrame({"size": [0.5, 1.0], "note": ["a", "b"]})
    assert message(read, frame, columns=["size"], edges={"size": [2, 1]}) == (
        f"{where}edges do not increase; given size: [2, 1]. Pass increasing values to cut at."
    )
    assert message(read, frame, columns=["size"], edges={"note": [1]}).startswith(f"{where}a column is no factor")
    assert message(read, frame, columns=["note"], edges={"note": [1]}) == (
        f"{where}a column with edges is not of numbers; given note. Leave its edges out."
    )


def test_an_unknown_column_is_refused() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"dark": [0, 1]})
    assert message(FactorTable.from_frame, frame, key="file", columns=["dark", "wet"], error=UnknownNameError) == (
        "FactorTable.from_frame: columns are not in the table; given wet, file. Choose among dark."
    )


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    where = "FactorTable.from_frame: "
    assert message(FactorTable.from_frame, tmp_path / "none.csv") == (
        f"{where}there is no such file; given {tmp_path / 'none.csv'}. Correct the path."
    )
    empty = tmp_path / "empty.csv"
    empty.touch()
    assert message(FactorTable.from_frame, empty) == (
        f"{where}the file is not a CSV table (No columns to parse from file); given {empty}. Save it as CSV."
    )
    for name, content in {"picture.csv": b"\x89PNG\xff\x00\xfe", "cut.csv.gz": b"\x1f\x8b\x08\x00"}.items():
        (tmp_path / name).write_bytes(content)
        assert message(FactorTable.from_frame, tmp_path / name).startswith(f"{where}the file is not a CSV table (")


# data sets


def test_a_tuple_gets_its_factors_appended_by_file_name() -> None:
    data = FactorDataset(Folder("y/c.png", "x/a.png"), TABLE)
    image, target, factors = data[1]
    assert (int(image), target, factors.tolist()) == (1, 0, [True, False])
    batch = default_collate([data[0], data[1]])
    assert torch.equal(batch[2], VALUES[[2, 0]])
    assert data.names == TABLE.names


def test_a_mapping_gets_a_key_and_a_list_stays_a_list() -> None:
    assert FactorDataset(Folder("b.png", item={"image": 5}), TABLE)[0]["factors"].tolist() == [False, True]
    item = FactorDataset(Folder("b.png", item=[5, 6]), TABLE)[0]
    assert isinstance(item, list)
    assert item[2].tolist() == [False, True]


def test_a_table_without_ids_is_joined_by_position() -> None:
    data = FactorDataset(TensorDataset(torch.arange(3)), FactorTable(TABLE.names, VALUES))
    assert [item[1].tolist() for item in (data[0], data[2])] == [[True, False], [True, True]]


def test_a_subset_is_joined_by_the_files_it_holds() -> None:
    data = FactorDataset(Subset(Folder("a.png", "b.png", "c.png"), [2, 0]), TABLE)
    assert [int(data[row][0]) for row in range(2)] == [2, 0]
    assert torch.equal(torch.stack([data[row][2] for row in range(2)]), VALUES[[2, 0]])


def test_images_without_a_row_are_refused_or_dropped() -> None:
    folder = Folder("a.png", "z.png", "c.png")
    assert message(FactorDataset, folder, TABLE) == (
        "FactorDataset: 1 of 3 images have no row; given z.png; the table has ids such as a.png. "
        "Leave these images out, complete the table, or key it by the same names."
    )
    data = FactorDataset(folder, TABLE, missing="drop")
    assert len(data) == 2
    assert [int(data[row][0]) for row in range(2)] == [0, 2]
    assert torch.equal(data.factors, VALUES[[0, 2]])


def test_files_of_one_name_in_two_folders_are_told_apart_by_their_paths() -> None:
    folder = Folder("x/a.png", "y/a.png")
    assert message(find_rows, folder, TABLE) == (
        "FactorDataset: images share a row; given 1 rows: a.png. Key the table by the paths below the data set's root."
    )
    by_path = FactorTable(("dark", "blurred"), VALUES[:2], ("y/a.png", "x/a.png"))
    assert find_rows(folder, by_path).tolist() == [1, 0]
    whole_path = FactorTable(("dark", "blurred"), VALUES[:2], ("/data/y/a.png", "/data/x/a.png"))
    assert find_rows(folder, whole_path).tolist() == [1, 0]


def test_an_item_that_cannot_hold_factors_is_refused() -> None:
    fix = "Return a tuple or a mapping."
    number = FactorDataset(Folder("a.png", item=3), TABLE)
    assert message(number.__getitem__, 0) == (f"FactorDataset: factors cannot be added to an item; given int. {fix}")
    taken = FactorDataset(Folder("a.png", item={"factors": 1}), TABLE)
    assert message(taken.__getitem__, 0) == (
        f"FactorDataset: factors cannot be added to an item; given dict with a key factors. {fix}"
    )
