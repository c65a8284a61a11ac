"""Tables with named columns: CSV, TSV and JSON lines, compressed or not, and mistakes in them."""

import gzip
from pathlib import Path

import pytest

from spanbert_jax.errors import UserError
from spanbert_jax.tasks.records import read_table, require_column


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def values(place: str, **options) -> list[dict]:
    return [record.values for record in read_table(place, **options).records]


def test_csv_is_quoted_and_its_fields_may_hold_commas_quotes_and_lines(tmp_path):
    place = write(tmp_path / "a.csv", 'text,label\n"a, ""b""\nc",1\n\nd,2\n')
    table = read_table(place)
    assert table.columns == ("text", "label")
    assert [record.values for record in table.records] == [
        {"text": 'a, "b"\nc', "label": "1"}, {"text": "d", "label": "2"},
    ]  # fmt: skip
    assert [record.where for record in table.records] == [f"{place}:2", f"{place}:5"]


def test_a_text_of_csv_may_be_longer_than_the_library_allows_by_itself(tmp_path):
    assert values(write(tmp_path / "a.csv", f"text\n{'x' * 200_000}\n"))[0]["text"] == "x" * 200_000


def test_in_tsv_a_quote_is_a_letter(tmp_path):
    place = write(tmp_path / "a.tsv", 'text\tlabel\n"open\t1\nshut" he said\t0\n')
    assert values(place) == [
        {"text": '"open', "label": "1"}, {"text": 'shut" he said', "label": "0"},
    ]  # fmt: skip


def test_json_lines_keep_types_and_columns_are_all_that_occur(tmp_path):
    place = write(tmp_path / "a.json", '{"text": "a", "n": 4.0}\n\n{"text": "b", "tags": ["x"]}\n')
    table = read_table(place)
    assert table.columns == ("text", "n", "tags")
    assert table.records[1] == (f"{place}:3", {"text": "b", "tags": ["x"]})


@pytest.mark.parametrize("name", ["a.csv.gz", "a.CSV.GZ.gz", "b.data"])
def test_a_file_may_be_compressed_and_its_format_named(tmp_path, name):
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(b"text\nhello\n"))
        assert values(str(tmp_path / name)) == [{"text": "hello"}]
    else:
        assert values(write(tmp_path / name, "text\nhello\n"), file_format="csv") == [
            {"text": "hello"}
        ]


def test_a_glob_names_several_files_and_a_byte_order_mark_is_no_letter(tmp_path):
    write(tmp_path / "a.tsv", "\ufefftext\nfirst\n")
    write(tmp_path / "b.tsv", "text\nsecond\n")
    assert values(f"{tmp_path}/*.tsv") == [{"text": "first"}, {"text": "second"}]


def test_columns_can_be_named_where_the_first_line_does_not(tmp_path):
    place = write(tmp_path / "a.tsv", "1\tgood\n0\tbad\n")
    assert values(place, columns=("label", "text"))[0] == {"label": "1", "text": "good"}


def test_columns_that_the_file_names_too_are_no_record(tmp_path):
    place = write(tmp_path / "a.csv", "label,text\n1,good\n")
    with pytest.raises(UserError, match=f"{place}:1: .* leave out --task.columns"):
        read_table(place, columns=("label", "text"))


def test_ragged_lines_are_left_out_only_where_asked_and_then_named(tmp_path):
    place = write(tmp_path / "a.tsv", "a\tb\n1\t2\n3\n4\t5\t6\n")
    table = read_table(place, leave_out_ragged=True)
    assert table.ragged == (f"{place}:3", f"{place}:4") and len(table.records) == 1
    with pytest.raises(UserError) as raised:
        read_table(place)
    assert str(raised.value) == (f"{place}:3: must have 2 fields (a, b), found 1; mend the line")


@pytest.mark.parametrize(
    "name, text, part",
    [
        ("a.jsonl", '{"text": "a"}\n{"text": }\n', ":2: must be one JSON object a line (Expecting"),
        ("a.jsonl", '["a"]\n', ":1: must be a JSON object, found list"),
        ("a.csv", 'text\n"a" b\n', ":2: must be CSV ("),
        ("a.csv", 'text\nx\n"never shut\n\n', ":3: must be CSV (unexpected end of data)"),
        ("a.csv", "text,text\na,b\n", ":1: must name every column once, found 'text'"),
        ("a.csv", "text\n", "must hold at least one record, found none"),
        ("a.xlsx", "text\n", "the name must end in one of .csv, .tsv"),
    ],
)
def test_a_malformed_file_is_named_with_its_line_and_the_reason(tmp_path, name, text, part):
    place = write(tmp_path / name, text)
    with pytest.raises(UserError) as raised:
        read_table(place)
    assert str(raised.value).startswith(place) and part in str(raised.value)


def test_a_file_that_is_not_there_and_bytes_that_are_no_text_are_named(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}/none.csv: must name a file"):
        read_table(f"{tmp_path}/none.csv")
    (tmp_path / "latin.tsv").write_bytes(b"text\ncaf\xe9\n")
    with pytest.raises(UserError, match="latin.tsv:2: text must be UTF-8, found byte 0xe9"):
        read_table(f"{tmp_path}/latin.tsv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"text\n" + b"hello\n" * 999)[:-20])
    with pytest.raises(UserError, match="cut.csv.gz:.* damaged or cut off"):
        read_table(f"{tmp_path}/cut.csv.gz")


def test_a_column_that_is_not_there_names_those_that_are_and_the_nearest(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "sentence,lable\na,1\n"))
    with pytest.raises(UserError) as raised:
        require_column(table, "label", place="a.csv", flag="--task.label-column")
    assert str(raised.value) == (
        "a.csv: has no column 'label', only 'sentence', 'lable'; the nearest one is 'lable', with "
        "--task.label-column"
    )


def test_a_split_of_a_dataset_must_be_named():
    with pytest.raises(UserError, match="tfds:glue/sst2: must name a split .* after @, as in"):
        read_table("tfds:glue/sst2")
