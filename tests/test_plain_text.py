import gzip
import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_failures.data import (
    FACTORS,
    FactorTable,
    Predictions,
    imagenet_x,
    plain_column,
    plain_text,
    predictions,
    read_imagenet_x,
    read_models,
    read_plainly,
    read_predictions,
)
from lightning_failures.errors import InputError
from tests.published import DATA, published

pytest.importorskip("pandas")

#: Whatever may stand in a cell of a plain table.
PLAIN = st.text(alphabet=[chr(code) for code in range(ord("-"), 127) if chr(code) != ";"], min_size=1, max_size=12)


@given(st.lists(st.tuples(PLAIN, st.integers(0, 10**15 - 1)), min_size=1, max_size=40), st.sampled_from(["\n", "\r\n"]))
def test_cells_are_those_of_the_csv_module(rows: list[tuple[str, int]], end: str) -> None:
    text = end.join(["name,number", *(f"{name},{number}" for name, number in rows)])
    for content in (text, text + end):
        table = read_plainly(content.encode())
        assert table is not None
        name, number = table.column("name"), table.column("number")
        assert name is not None
        assert number is not None
        assert name.words() == [row[0] for row in rows]
        numbers = number.whole_numbers()
        assert numbers is not None
        assert numbers.tolist() == [row[1] for row in rows]


@given(st.lists(PLAIN, min_size=1, max_size=60, unique=True), st.lists(PLAIN, min_size=1, max_size=60))
def test_cells_are_found_where_a_list_finds_them(words: list[str], others: list[str]) -> None:
    asked = [*others, words[-1]]
    column, cells = plain_column(words), plain_column(asked)
    assert column is not None
    assert cells is not None
    found = column.find(cells)
    assert found is not None
    assert found.tolist() == [words.index(word) if word in words else -1 for word in asked]
    assert column.is_unique()
    twice = plain_column([*words, words[0]])
    assert twice is not None
    assert not twice.is_unique()
    assert twice.find(cells) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n",
        b"a\n1\n",
        b"a,b\n1\n2,3,4\n",
        b"a,b\n1,2\n\n",
        b"a,a\n1,2\n",
        b"a,\n1,2\n",
        b"a;b\n1;2\n",
        b'"a",b\n1,2\n',
        b"a,b\n'1',2\n",
        b"a, b\n1,2\n",
        b"a,b\r1,2\r",
        b"a,b\n1,\xc3\xa9\n",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b"a,b\n1,\x002\n",
    ],
)
def test_what_is_not_plain_is_left_to_the_tolerant_reader(content: bytes) -> None:
    assert read_plainly(content) is None


def test_a_cell_far_longer_than_the_others_takes_no_memory_for_all() -> None:
    content = b"a,b\n" + b"1,2\n" * 1000 + b"1" * 9000 + b",2\n"
    table = read_plainly(content)
    assert table is not None
    assert table.column("a") is None
    assert table.column("b") is not None


def test_cells_that_are_no_numbers_or_empty_are_told() -> None:
    table = read_plainly(b"a,b,c\n1,,1\nx,2,12345678901234567\n")
    assert table is not None
    a, b, c = (table.column(name) for name in "abc")
    assert a is not None
    assert c is not None
    assert (a.whole_numbers(), b, c.whole_numbers()) == (None, None, None)


def read_both(
    paths: list[Path], table: FactorTable, num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> list[list[Predictions]]:
    """The same files read with the plain reader, where it can, and without."""
    ways = [read_models(paths, table, num_classes)]
    with monkeypatch.context() as patch:
        patch.setattr(predictions, "read_plainly", lambda content: None)
        ways.append(read_models(paths, table, num_classes))
    return ways


@pytest.mark.parametrize("seed", range(4))
def test_the_plain_and_the_tolerant_way_give_the_same_predictions(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    ids = tuple(f"{'n' * draw.randrange(1, 5)}{number}.JPEG" for number in range(400))
    table = FactorTable(("dark",), torch.arange(400)[:, None] % 3 == 0, ids)
    names, paths = [*ids, *(f"other_{number}.JPEG" for number in range(draw.randrange(30)))], []
    for model in range(6):
        if model % 2 == 0:  # else in the order of the model before
            draw.shuffle(names)
        rows = [(name, draw.randrange(9), draw.choice([draw.random(), 0, 1, "", 1e-7])) for name in names]
        columns = ["file_name,predicted_class,predicted_probability", "file_name,predicted_class"][model // 5]
        lines = [columns, *(",".join(map(str, row[: 3 - model // 5])) for row in rows)]
        if model == 4:  # not plain, though the same
            lines[0] = lines[0].replace(",", ", ")
        paths.append(tmp_path / f"{model}.csv.gz")
        paths[-1].write_bytes(gzip.compress(("\r\n" if model == 3 else "\n").join([*lines, ""]).encode()))
    plain, tolerant = read_both(paths, table, 9, monkeypatch)
    for one, other, path in zip(plain, tolerant, paths, strict=True):
        assert torch.equal(one.preds, other.preds)
        assert one.preds.dtype == other.preds.dtype
        torch.testing.assert_close(one.confidence, other.confidence, rtol=0, atol=0, equal_nan=True)
        assert one._replace(preds=other.preds, confidence=other.confidence) == other
        alone = read_predictions(path, table, 9, probabilities=False)
        assert torch.equal(alone.preds, other.preds)
        assert bool(alone.confidence.isnan().all())
        assert len(alone.confidence) == 400


def test_the_plain_way_is_taken_for_plain_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Predictions:
        raise AssertionError

    monkeypatch.setattr(predictions, "_read", refuse)
    table = FactorTable(("dark",), torch.tensor([[1], [0]]), ("a.png", "b.png"))
    path = tmp_path / "plain.csv"
    path.write_text("predicted_class,file_name\n3,b.png\n007,c.png\n5,a.png\n")
    model = read_predictions(path, table)
    assert (model.model, model.preds.tolist(), model.unused) == ("plain", [5, 3], 1)
    for text in (
        "3,b.png\n5,a.png\n5,a.png\n",
        "3,b.png\n",
        "-3,b.png\n5,a.png\n",
        "3,b.png\n5,A.png\n",
        "9,a.png\n9,b.png\n",
    ):
        path.write_text(f"predicted_class,file_name\n{text}")
        with pytest.raises(AssertionError):
            read_predictions(path, table, 9)


def annotate(folder: Path, seed: int, edit: str = "") -> None:
    """Random annotations as the package writes them, and every fifth image a prototype; or with an odd line."""
    draw = random.Random(seed)
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 301)]
    order, lines = draw.sample(FACTORS, len(FACTORS)), []
    for name in names:
        image = {"file_name": name, "class": draw.choice([draw.randrange(1000), draw.randrange(10)])}
        image |= {factor: int(draw.random() < 0.3) for factor in order}
        words = {"justification": draw.choice(['it says "pose":1}', "\\n", "blé", ""]), "one_word": "x"}
        lines.append(json.dumps(image | words, separators=(",", ":"), ensure_ascii=False))
    if edit:
        lines[151] = json.dumps(json.loads(lines[151]) | {"file_name": edit}, separators=(",", ":"))
    (folder / "imagenet_x_val_top_factor.jsonl").write_text("\n".join(lines) + "\n" * (seed % 2), encoding="utf-8")
    (folder / "prototypical_paths.csv").write_text("\n".join(["file_name", *names[::5], "none.JPEG"]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("edit", ["", "ILSVRC2012_val_short.JPEG", 'ILSVRC2012_val_0"00152.JPEG'])
@pytest.mark.parametrize("prototypes", [False, True])
def test_annotations_are_the_same_read_by_their_bytes_and_as_json(
    seed: int, edit: str, prototypes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet_x, "_AT_ONCE", 70)  # several pieces of lines
    monkeypatch.setattr(plain_text, "_AT_ONCE", 1000)
    annotate(tmp_path, seed, edit)
    content = (tmp_path / "imagenet_x_val_top_factor.jsonl").read_bytes()
    assert (imagenet_x._parse_alike(content, []) is None) == bool(edit)
    table, classes = read_imagenet_x(prototypes=prototypes, path=tmp_path)
    monkeypatch.setattr(imagenet_x, "_parse_alike", lambda *_: None)
    slowly, slow_classes = read_imagenet_x(prototypes=prototypes, path=tmp_path)
    assert (table.names, table.ids) == (slowly.names, slowly.ids)
    assert len(table) == (300 if prototypes else 240)
    assert torch.equal(table.values, slowly.values)
    assert torch.equal(classes, slow_classes)


@pytest.mark.parametrize(
    ("old", "new"), [('"pose":0', '"pose":2'), ('"class":', '"class":0'), ('"texture":', '"texture" :'), ("}", "")]
)
def test_a_line_that_is_written_otherwise_is_read_as_json(old: str, new: str, tmp_path: Path) -> None:
    annotate(tmp_path, 0)
    path = tmp_path / "imagenet_x_val_top_factor.jsonl"
    head, found, tail = path.read_text(encoding="utf-8").rpartition(old)
    path.write_text(head + (new if found else "") + tail, encoding="utf-8")
    assert imagenet_x._parse_alike(path.read_bytes(), []) is None
    if new in ('"pose":2', '"class":0', ""):
        with pytest.raises(InputError, match=r"cannot be read|neither 0 nor 1"):
            read_imagenet_x(path=tmp_path)


@published
def test_published_files_are_plain_and_read_the_same_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = read_imagenet_x()
    with monkeypatch.context() as patch:
        patch.setattr(imagenet_x, "_parse_alike", lambda *_: None)
        slowly, _ = read_imagenet_x()
    assert table.ids == slowly.ids
    assert torch.equal(table.values, slowly.values)
    paths = sorted((DATA / "model_predictions").glob("*.csv.gz"))
    for plain, tolerant in zip(*read_both(paths, table, 1000, monkeypatch), strict=True):
        assert torch.equal(plain.preds, tolerant.preds)
        assert torch.equal(plain.confidence, tolerant.confidence)
        assert plain.unused == tolerant.unused
