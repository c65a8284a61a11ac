"""Sources: documents in order with their place, and bad input named by file and line."""

import bz2
import gzip
import json
import re
import subprocess
import sys

import pytest

from spanbert_jax.corpus.documents import Reading, read_source
from spanbert_jax.corpus.sources import find_source, open_source
from spanbert_jax.errors import UserError

GENSIM_DUMP = (
    "wikipedia:package://gensim/test/test_data/"
    "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
)
DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="en">
  <siteinfo><sitename>Wikipedia</sitename></siteinfo>
  <page><title>Fog</title><ns>0</ns><id>1</id>
    <revision><text>'''Fog''' is a visible cloud of small water droplets near the [[ground]].
Short line.</text></revision></page>
  <page><title>Mist</title><ns>0</ns><redirect title="Fog" />
    <revision><text>#REDIRECT [[Fog]]</text></revision></page>
  <page><title>Talk:Fog</title><ns>1</ns><revision><text>Hello there.</text></revision></page>
</mediawiki>
"""


def read(spec: str):
    return list(open_source(spec))


def test_a_blank_line_ends_a_document_and_a_line_is_a_paragraph(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n\nOne.\nTwo.\n \t\n\nThree.\r\nFour.")
    assert read(f"text:{path}") == [
        (["One.", "Two."], f"{path}:3"),
        (["Three.", "Four."], f"{path}:7"),
    ]


def test_a_file_can_be_one_document(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("One.\n\nTwo.\n")
    assert read(f"text-files:{path}") == [(["One.", "Two."], f"{path}:1")]


def test_files_of_a_glob_are_read_in_sorted_order(tmp_path):
    for name in ("b/2.txt", "a/9.txt", "b/10.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [document.paragraphs for document in read(f"text:{tmp_path}/*/*.txt")]
    assert found == [["a/9.txt"], ["b/10.txt"], ["b/2.txt"]]
    assert len(read(f"text:{tmp_path}/**/*.txt")) == 3


def test_text_at_an_address_is_read_like_any_other(tmp_path, as_addresses):
    (tmp_path / "a.txt").write_text("One.\nTwo.\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"Three.\n"))
    found = [document.paragraphs for document in read(f"text:{tmp_path}/*")]
    assert found == [["One.", "Two."], ["Three."]]


def test_a_byte_order_mark_is_not_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\n")
    assert read(f"text:{tmp_path}/a.txt")[0].paragraphs == ["One."]


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_text_is_read_like_any_other(tmp_path, suffix, compress):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compress("Ünö.\n\nZwei.\n".encode()))
    assert [document.paragraphs for document in read(f"text:{path}")] == [["Ünö."], ["Zwei."]]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_json_lines_give_a_document_for_every_object(tmp_path, suffix):
    lines = [{"text": "One.\nTwo.", "body": "x"}, {"text": "Drei", "body": "y"}]
    content = "\n\n".join(map(json.dumps, lines)).encode()
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert read(f"jsonl:{path}") == [(["One.", "Two."], f"{path}:1"), (["Drei"], f"{path}:3")]
    assert [document.paragraphs for document in read(f"jsonl:{path}#body")] == [["x"], ["y"]]


@pytest.mark.parametrize("compressed", [True, False])
def test_a_dump_gives_articles_and_counts_what_it_skips(tmp_path, compressed):
    path = tmp_path / ("dump.xml.bz2" if compressed else "dump.xml")
    path.write_bytes(bz2.compress(DUMP.encode()) if compressed else DUMP.encode())
    assert read(f"wikipedia:{path}") == [
        (["Fog is a visible cloud of small water droplets near the ground."], f"{path}:Fog")
    ]
    source, reading = find_source(f"wikipedia:{path}"), Reading()
    assert len(list(read_source(source, reading))) == 1
    assert reading.counts == {"wiki redirects": 1, "wiki pages that are no articles": 1}
    assert reading.size_done == source.inputs[0].size == path.stat().st_size


def test_the_real_dump_of_gensim_becomes_clean_prose():
    documents = read(GENSIM_DUMP)
    text = "\n".join(line for document in documents for line in document.paragraphs)
    assert len(documents) == 106
    assert 400_000 < len(text.split()) < 460_000
    for leftover in (
        "''",
        "|",
        "{{",
        "}}",
        "[[",
        "]]",
        "thumb|",
        "<ref",
        "Category:",
        "==",
        "&nbsp;",
    ):
        assert leftover not in text
    assert "Anarchism is a political philosophy that advocates self-governed societies" in text


def test_a_dump_inside_a_package_is_found_without_importing_the_package():
    program = (
        "import sys; from spanbert_jax.corpus.sources import find_source;"
        f"find_source({GENSIM_DUMP!r});"
        "print(sorted({'gensim', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


LINES = b"one\n" * 9000
BAD_FILES = {
    "text that is not UTF-8": ("text", "a.txt", b"fine\ncaf\xe9\n", r":2: .*byte 0xe9 at column 4"),
    "JSON that is not UTF-8": ("jsonl", "a.jsonl", b'{"text": "\xff"}', ":1: .*0xff"),
    "malformed JSON": ("jsonl", "a.jsonl", b'{"text": "a"}\n{"text": \n', ":2: must be one JSON"),
    "JSON without an object": ("jsonl", "a.jsonl", b"[1]\n", ":1: .*object, found list"),
    "a missing field": ("jsonl", "a.jsonl", b'{"b": ""}', ":1: has no field 'text', only 'b'"),
    "a field of numbers": ("jsonl", "a.jsonl", b'{"text": 3}', ":1: .*must be text, found int"),
    "half a character": ("jsonl", "a.jsonl", b'{"text": "\\ud800"}', ":1: .*surrogate"),
    "gzip cut off": ("text", "a.txt.gz", gzip.compress(LINES)[:-20], r":\d+: .*cut off"),
    "no gzip at all": ("text", "a.txt.gz", b"one two\n", ":1: the file is damaged"),
    "bzip2 cut off": ("text", "a.txt.bz2", bz2.compress(LINES)[:-9], r":\d+: .*cut off"),
    "no bzip2 at all": ("wikipedia", "a.xml.bz2", DUMP.encode(), ": is damaged"),
    "a dump cut off": ("wikipedia", "a.xml", DUMP.encode()[:-30], ":8: is not well-formed XML"),
    "a bzip2 dump cut off": ("wikipedia", "a.bz2", bz2.compress(DUMP.encode())[:-9], ": .*cut off"),
    "XML that is no dump": ("wikipedia", "a.xml", b"<html></html>", ":1: .*found <html>"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_input_is_named_by_file_and_line(tmp_path, name):
    kind, file, content, message = BAD_FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(file) + message):
        read(f"{kind}:{tmp_path}/{file}")


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    source = find_source(f"text:{tmp_path}/a.txt")
    (tmp_path / "a.txt").unlink()
    with pytest.raises(UserError, match="a.txt: cannot be read"):
        list(read_source(source, Reading()))


@pytest.mark.parametrize("pattern", ["none.txt", "none/*.txt", "*.md", "folder"])
def test_a_pattern_without_a_match_is_an_error(tmp_path, pattern):
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"--source text:.*must name a file, or a glob"):
        read(f"text:{tmp_path}/{pattern}")


def test_a_package_that_is_not_installed_says_how_to_install_it():
    with pytest.raises(UserError, match="run `pip install no_such_package`"):
        read("wikipedia:package://no_such_package/dump.xml")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("txt:a.txt", "text, text-files, jsonl, wikipedia, tfds; perhaps you meant text:a.txt"),
        ("/data/a.txt", "KIND:PLACE"),
        ("wikipedia", "KIND:PLACE"),
        ("quux:a", "for instance text"),
    ],
)
def test_an_unknown_kind_lists_the_kinds_and_names_the_nearest(spec, message):
    with pytest.raises(UserError, match=message):
        find_source(spec)
