"""CSV files as Excel, pandas, R and people write them: all of them are one table."""

import bz2
import csv
import gzip
import lzma
import zipfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from lightning_failures.data.column_names import find_file_names, row_numbers
from lightning_failures.data.csv_file import is_index, read_csv
from lightning_failures.errors import InputError

pd = pytest.importorskip("pandas")

HEADER = ["file_name", "scanner", "score", "size"]
ROWS = [["007.png", "A", "0.5", "16"], ["b, c.png", "B", "0.25", "8"], ["d.png", "A", "1.0", "40"]]


def text(
    rows: list[list[str]] = ROWS,
    header: list[str] = HEADER,
    separator: str = ",",
    end: str = "\n",
    quoting: Any = csv.QUOTE_MINIMAL,
    quote: str = '"',
) -> str:
    file = StringIO()
    csv.writer(file, delimiter=separator, lineterminator=end, quoting=quoting, quotechar=quote).writerows(
        [header, *rows]
    )
    return file.getvalue()


def commas(rows: list[list[str]]) -> list[list[str]]:
    """The numbers as people write them where a comma stands before the decimals."""
    return [[name, word, score.replace(".", ","), size] for name, word, score, size in rows]


def zipped(**files: str) -> bytes:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, inside in files.items():
            archive.writestr(name, inside)
    return content.getvalue()


MESSY: dict[str, bytes] = {
    "plain": text().encode(),
    "byte order mark": b"\xef\xbb\xbf" + text().encode(),
    "semicolons": text(separator=";").encode(),
    "tabs": text(separator="\t").encode(),
    "windows": text(end="\r\n").encode(),
    "quoted": text(quoting=csv.QUOTE_ALL).encode(),
    "single quotes": text(quoting=csv.QUOTE_ALL, quote="'").encode(),
    "excel": b"\xef\xbb\xbf" + text(commas(ROWS), separator=";", end="\r\n").encode(),
    "excel names its separator": ("sep=;\r\n" + text(commas(ROWS), separator=";", end="\r\n")).encode(),
    "excel's unicode text": text(separator="\t", end="\r\n").encode("utf-16"),
    "white space": b"\n\n file_name , scanner , score , size \n007.png, A , 0.5 , 16\n"
    b'"b, c.png" ,B, 0.25 ,8 \n d.png,A,1.0,40\n\n',
    "pandas' index": text([[str(row), *cells] for row, cells in enumerate(ROWS)], ["", *HEADER]).encode(),
    "pandas' index read and written": text(
        [[str(row), str(row), *cells] for row, cells in enumerate(ROWS)], ["Unnamed: 0.1", "Unnamed: 0", *HEADER]
    ).encode(),
    "rows that were picked": text([[str(5 * row), *cells] for row, cells in enumerate(ROWS)], ["", *HEADER]).encode(),
    "R's row names": text([[str(row + 1), *cells] for row, cells in enumerate(ROWS)]).encode(),
    "an empty last column": text([[*cells, ""] for cells in ROWS], [*HEADER, ""]).encode(),
    "a separator at the end of rows": text([[*cells, ""] for cells in ROWS]).encode(),
    "gzip": gzip.compress(text().encode(), mtime=0),
    "bzip2": bz2.compress(text().encode()),
    "xz": lzma.compress(text().encode()),
    "zip": zipped(**{"table.csv": text()}),
    "zip of macOS": zipped(**{"a/table.csv": text(), "__MACOSX/a/._table.csv": "\x00", ".DS_Store": "\x00"}),
}


@pytest.mark.parametrize("content", MESSY.values(), ids=MESSY.keys())
def test_a_messy_file_is_the_same_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    frame = read_csv("read", tmp_path / "table.csv")
    assert list(frame.columns) == HEADER
    assert frame.to_numpy().tolist() == [[name, word, float(score), int(size)] for name, word, score, size in ROWS]


def test_text_is_kept_as_it_is_written_and_other_cells_may_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("class,size\n007,NA\nNone,8\n,16\n")
    frame = read_csv("read", path, text=("class",))
    assert frame["class"].tolist()[:2] == ["007", "None"]
    assert frame["class"].isna().tolist() == [False, False, True]
    assert frame["size"].isna().tolist() == [True, False, False]


def test_numbers_without_a_name_that_do_not_rise_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",dark\n2,0\n0,1\n1,1\n")
    frame = read_csv("read", path)
    assert list(frame.columns) == ["Unnamed: 0", "dark"]
    assert row_numbers(frame) == ["Unnamed: 0"]
    path.write_text("Unnamed: 0,dark\n0,0\n1,1\n")
    assert list(read_csv("read", path, keep=("Unnamed: 0",)).columns) == ["Unnamed: 0", "dark"]


def test_what_counts_from_0_or_1_is_an_index() -> None:
    assert is_index(pd.Series([0, 1, 2]))
    assert is_index(pd.Series([1, 2, 3]))
    for other in ([0, 2, 1], [2, 3, 4], [0.0, 1.0], ["0", "1"], []):
        assert not is_index(pd.Series(other))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"File Name": ["a"], "dark": [1]}, "File Name"),
        ({"fileName": ["a", "a"], "dark": [1, 0]}, "fileName"),
        ({"image": ["a", "b", "c"], "dark": [1, 0, 0]}, "image"),
        ({"image": ["a", "b", "b"], "dark": [1, 0, 0]}, "image"),  # one stands twice, which is an error later
        ({"image": ["day", "night"] * 3, "dark": [1, 0] * 3}, None),
        ({"image": [0, 1, 0], "dark": [1, 0, 0]}, None),  # a factor
        ({"id": [0, 1, 2], "dark": [1, 0, 0]}, None),  # counts the rows
        ({"id": [12, 17, 4], "dark": [1, 0, 0]}, "id"),
        ({"Bild": ["x/a.png", "b.JPEG"], "dark": [1, 0]}, "Bild"),
        ({"one": ["a.png", "b.png"], "other": ["c.png", "d.png"]}, None),  # which of the two?
        ({"note": ["a", "b"], "dark": [1, 0]}, None),
    ],
)
def test_the_column_of_file_names_is_found_by_its_name_or_by_what_it_holds(
    columns: dict[str, list[Any]], found: str | None
) -> None:
    assert find_file_names(pd.DataFrame(columns)) == found


@pytest.mark.parametrize(
    ("content", "wrong", "fix"),
    [
        (zipped(**{"a.csv": text(), "b.csv": text()}), "a zip archive of 2 files: a.csv, b.csv", "Pack one CSV file"),
        (zipped(), "a zip archive of no file", "Pack one CSV file into each archive."),
        (zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), "an Excel workbook", "Save it as CSV."),
        (b"PAR1\x15\x04", "a Parquet file", "Save it as CSV."),
        (b"\x28\xb5\x2f\xfd\x00", "packed with zstd", "Unpack it, or pack it with gzip."),
        (gzip.compress(text().encode(), mtime=0)[:40], "", "Pack it again, or save it as CSV."),
        ("größe\n1\n".encode("latin-1"), "'utf-8' codec can't decode", 'Save it as CSV in UTF-8 (Excel: "CSV UTF-8").'),
        (b"", "No columns to parse from file", "Save it as CSV."),
        (b"a,b\n1,2\n1,2,3\n", "", "Save it as CSV."),
    ],
)
def test_what_is_no_table_says_what_it_is_and_what_to_do(tmp_path: Path, content: bytes, wrong: str, fix: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    message = raised(read_csv, "factors", path)
    assert message.startswith(f"factors: the file is not a CSV table ({wrong}")
    assert f"; given {path}. {fix}" in message


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("dark,dark \n0,1\n")
    assert raised(read_csv, "factors", tmp_path / "table.csv") == (
        f"factors: columns have the same name; given dark of {tmp_path / 'table.csv'}. Rename one of them."
    )


def raised(call: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(InputError) as error:
        call(*args)
    return str(error.value)
