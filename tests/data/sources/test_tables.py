from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch
from own_files import write_table
from sklearn.datasets import load_breast_cancer, load_diabetes

from whet.core.errors import TaskError, UnknownNameError
from whet.data.sources import Options, understood

TARGET = Options("target")


def csv(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def rows(count: int) -> list[str]:
    return [f"{n},{n * 0.5},{'yes' if n % 2 else 'no'}" for n in range(count)]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_table_of_classes_is_read_whole(name: str, tmp_path: Path) -> None:
    data = understood(write_table(tmp_path / name), TARGET)
    table = load_breast_cancer()
    assert data.aim == "classes" and data.classes == ("0", "1")
    x = torch.cat([part.inputs["x"][:] for part in data.parts.values()])
    y = torch.cat([part.targets for part in data.parts.values() if part.targets is not None])
    assert x.shape == (569, 30) and torch.bincount(y).tolist() == [212, 357]
    known = {row.astype("float32").tobytes(): label for row, label in zip(table.data, table.target)}
    assert [known[row.numpy().tobytes()] for row in x] == y.tolist()


def test_a_table_of_numbers(tmp_path: Path) -> None:
    data = understood(write_table(tmp_path / "a.csv", "diabetes"), TARGET)
    assert data.aim == "numbers" and not data.classes and sum(map(len, data.parts.values())) == 442
    y = torch.cat([part.targets for part in data.parts.values() if part.targets is not None])
    assert float(y.sum()) == pytest.approx(load_diabetes().target.sum())
    scaled = understood(tmp_path / "a.csv", Options("target", standardize=True)).parts["train"]
    assert scaled.targets is not None and float(scaled.targets.mean()) == pytest.approx(0, abs=1e-5)


def test_the_target_may_stand_anywhere_and_lines_be_cut_by_other_signs(tmp_path: Path) -> None:
    lines = ["a,answer,b", *(f"{n},{'yes' if n % 2 else 'no'},{n + 100}" for n in range(20))]
    plain = understood(csv(tmp_path / "a.csv", *lines), Options("answer"))
    assert plain.classes == ("no", "yes") and any("a, b" in note for note in plain.notes)
    others = [csv(tmp_path / "b.csv", *(line.replace(",", ";") for line in lines))]
    others += [csv(tmp_path / "c.tsv", *(line.replace(",", "\t") for line in lines)), tmp_path / "d.csv.gz"]
    with gzip.open(others[-1], "wt") as file:
        file.write("\n".join(lines))
    for path in others:
        found = understood(path, Options("answer")).parts["train"]
        assert torch.equal(found.inputs["x"][:], plain.parts["train"].inputs["x"][:]), path


def test_a_column_or_files_tell_the_split(tmp_path: Path) -> None:
    names = ["train"] * 10 + ["dev"] * 4
    lines = ["a,y,split", *(f"{n},{n % 2},{name}" for n, name in enumerate(names))]
    data = understood(csv(tmp_path / "a.csv", *lines), Options("y"))
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 10, "val": 4}
    assert data.parts["val"].inputs["x"][:].flatten().tolist() == [10, 11, 12, 13]
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, count in (("train", 10), ("val", 4)):
        csv(folder / f"{name}.csv", "a,y", *(f"{n},{n % 2}" for n in range(count)))
    parts = understood(folder, Options("y")).parts
    assert {name: len(part) for name, part in parts.items()} == {"train": 10, "val": 4}


def test_missing_values_are_counted_named_and_left_out_where_asked(tmp_path: Path) -> None:
    lines = rows(30)
    lines[4], lines[9], lines[11] = "4,,no", "9,abc,yes", "11,3,"
    path = csv(tmp_path / "a.csv", "a,b,target", *lines)
    with pytest.raises(
        TaskError, match=r"3 rows .*row 6 \(no value in 'b'\), row 11 \('abc' in 'b' is no number\), row 13"
    ):
        understood(path, TARGET)
    data = understood(path, Options("target", skip_bad=True))
    assert sum(map(len, data.parts.values())) == 27 and "left out: 3 rows" in data.notes[0]
    assert all(bool(torch.isfinite(part.inputs["x"][:]).all()) for part in data.parts.values())


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", "size,city,price", *(f"{n},Paris,{n / 2}" for n in range(20)))
    with pytest.raises(UnknownNameError, match="unknown column 'prize'; did you mean 'price'"):
        understood(path, Options("prize"))
    with pytest.raises(TaskError, match="column 'city' holds text such as 'Paris', where numbers are wanted"):
        understood(path, Options("price"))
    with pytest.raises(TaskError, match="--target-column, one of size, city, price"):
        understood(path)
    one = csv(tmp_path / "b.csv", "a,y", *(f"{n},cat" for n in range(20)))
    with pytest.raises(TaskError, match="column 'y' has a single class, 'cat'"):
        understood(one, Options("y"))
    assert understood(csv(tmp_path / "c.csv", "a,b", *("1,2" for _ in range(9))), Options("none")).aim == "agreement"


def test_lines_that_are_no_table_are_named(tmp_path: Path) -> None:
    for lines, told in (
        (["a,b", "1,2", "1,2,3"], "row 3 has 3 values; there are 2 columns"),
        (["a,b"], "no rows below"),
        (["1,2", "3,4"], "does not name its columns"),
    ):
        with pytest.raises(TaskError, match=told):
            understood(csv(tmp_path / "a.csv", *lines), Options("b"))
    write_table(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:500])
    with pytest.raises(TaskError, match=r"a.parquet' is truncated"):
        understood(tmp_path / "a.parquet", TARGET)
