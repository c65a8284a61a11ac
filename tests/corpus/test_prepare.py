"""From text to shards: nothing lost, the same bytes always, stopped and resumed, errors named."""

import dataclasses
import importlib
import json
import random
import shutil

import numpy as np
import pytest

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus import shard_writer
from spanbert_jax.corpus.prepare import prepare
from spanbert_jax.corpus.progress import SilentProgress
from spanbert_jax.corpus.shards import (
    MANIFEST_FILE,
    Manifest,
    load_shard,
    read_manifest,
    read_unigram_counts,
    verify_shards,
)
from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, load_tokenizer
from spanbert_jax.errors import UserError

WORDS = (
    "the of and to in a is that it was for on are as with his they at be this from have or by one "
    "had not but what all were when we there can an your which their said if do will each about "
    "how up out them then she many some so these would other into has more her two like him see "
    "time could no make than first been its who now people my made over did down only way find"
).split()
NUM_DOCUMENTS = 60


class Recorder(SilentProgress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def document(number: int) -> str:
    source = random.Random(number)
    sentences = [" ".join(source.choices(WORDS, k=source.randint(3, 12))) for _ in range(12)]
    lines = (". ".join(s.capitalize() for s in sentences[i : i + 4]) + "." for i in (0, 4, 8))
    return "\n".join(lines)


@pytest.fixture
def text(tmp_path):
    folder = tmp_path / "text"
    folder.mkdir()
    documents = [document(number) for number in range(NUM_DOCUMENTS)]
    (folder / "a.txt").write_text("\n\n".join(documents[:40]))
    (folder / "b.txt").write_text("\n\n".join(documents[40:]))
    return folder


@pytest.fixture
def config(text, tmp_path) -> PrepareConfig:
    return PrepareConfig(
        source=(f"text:{text}/*.txt",), out=str(tmp_path / "shards"), vocab_size=150,
        held_out=0.1, shard_tokens=2_000, num_workers=1,
    )  # fmt: skip


def run(config: PrepareConfig, **values) -> Manifest:
    return prepare(dataclasses.replace(config, **values), progress=SilentProgress())


def folder_bytes(folder) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def documents_of(folder, manifest: Manifest, split: str) -> list[list[list[int]]]:
    """Token ids by document and sentence."""
    documents = []
    for info in manifest.splits[split]:
        tokens, sentence_ends, document_ends, _ = load_shard(folder, info)
        sentences = np.split(tokens, sentence_ends)[:-1]
        begin = 0
        for end in document_ends.tolist():
            documents.append([sentence.tolist() for sentence in sentences[begin:end]])
            begin = end
    return documents


def test_every_sentence_of_every_document_is_in_the_shards(config, tmp_path):
    # WordPiece: a SentencePiece vocabulary leaves the rarest letters out.
    manifest = run(config, tokenizer="wordpiece")
    folder = tmp_path / "shards"
    tokenizer = load_tokenizer(folder)
    train, held_out = (documents_of(folder, manifest, name) for name in ("train", "held_out"))
    decoded = {" ".join(map(tokenizer.decode, sentences)) for sentences in train + held_out}
    assert decoded == {document(number).replace("\n", " ") for number in range(NUM_DOCUMENTS)}
    assert len(train) + len(held_out) == NUM_DOCUMENTS
    assert 0 < len(held_out) < 15
    assert manifest.counts["documents"] == NUM_DOCUMENTS


def test_the_manifest_describes_the_folder(config, tmp_path):
    manifest = run(config)
    folder = tmp_path / "shards"
    assert read_manifest(folder) == manifest
    verify_shards(folder, manifest)
    assert len(manifest.splits["train"]) > 3
    sizes = [shard.num_tokens for shard in manifest.splits["train"]]
    assert len(sizes) == -(-sum(sizes) // 2_000)
    assert manifest.tokenizer.vocab_size == 150
    assert manifest.tokenizer.fingerprint == load_tokenizer(folder).fingerprint
    unigram = read_unigram_counts(folder, manifest)
    assert unigram.sum() == manifest.totals["train"]["num_tokens"]
    tokens = np.concatenate([load_shard(folder, s).tokens for s in manifest.splits["train"]])
    np.testing.assert_array_equal(unigram, np.bincount(tokens, minlength=150))


def test_every_path_may_begin_with_the_home_folder(config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    manifest = run(config, source=("text:~/text/*.txt",), out="~/shards")
    assert read_manifest("~/shards") == manifest
    verify_shards("~/shards", manifest)
    info = manifest.splits["train"][0]
    assert len(load_shard("~/shards", info).tokens) == info.num_tokens
    assert read_unigram_counts("~/shards", manifest).sum() > 0
    assert load_tokenizer("~/shards").fingerprint == manifest.tokenizer.fingerprint
    again = run(config, out="~/again", tokenizer="~/shards/tokenizer.model")
    assert again.splits == manifest.splits


def test_no_special_token_gets_into_a_shard(config, text, tmp_path):
    (text / "c.txt").write_text("A [MASK] and a [CLS] of the [SEP].\n" * 3)
    manifest = run(config)
    unigram = read_unigram_counts(tmp_path / "shards", manifest)
    assert (
        unigram[[SPECIAL_PIECES.index(p) for p in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")]].sum() == 0
    )


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "wordpiece"])
def test_shards_are_the_same_bytes_with_one_process_and_with_two(config, tmp_path, tokenizer):
    for workers in (1, 2):
        run(config, out=str(tmp_path / f"by{workers}"), num_workers=workers, tokenizer=tokenizer)
    assert folder_bytes(tmp_path / "by1") == folder_bytes(tmp_path / "by2")


def test_held_out_documents_do_not_depend_on_files_and_their_order(config, text, tmp_path):
    first = documents_of(tmp_path / "shards", run(config), "held_out")
    (text / "a.txt").rename(text / "z.txt")
    tokenizer = str(tmp_path / "shards" / "tokenizer.model")
    again = run(config, out=str(tmp_path / "again"), tokenizer=tokenizer)
    second = documents_of(tmp_path / "again", again, "held_out")
    assert sorted(first) == sorted(second)


@pytest.mark.parametrize("gone", ["last", "middle", "first", "held_out", "all", "one file"])
def test_what_is_gone_is_made_anew_with_the_same_bytes(config, tmp_path, gone):
    manifest = run(config)
    folder = tmp_path / "shards"
    before = folder_bytes(folder)
    names = [shard.name for shard in manifest.splits["train"]]
    patterns = {
        "last": f"{names[-1]}.*", "middle": f"{names[2]}.*", "first": f"{names[0]}.*",
        "held_out": "held_out-*", "all": "train-*", "one file": f"{names[1]}.sentences.npy",
    }  # fmt: skip
    for path in [folder / MANIFEST_FILE, *folder.glob(patterns[gone])]:
        path.unlink()
    run(config)
    assert folder_bytes(folder) == before


def test_a_missing_file_is_mended_although_the_manifest_is_there(config, tmp_path):
    run(config)
    folder = tmp_path / "shards"
    before = folder_bytes(folder)
    (folder / "train-00001.tokens.npy").unlink()
    run(config)
    assert folder_bytes(folder) == before


def test_an_altered_shard_is_made_anew(config, tmp_path):
    run(config)
    folder = tmp_path / "shards"
    before = folder_bytes(folder)
    (folder / MANIFEST_FILE).unlink()
    (folder / "train-00001.tokens.npy").write_bytes(before["train-00001.tokens.npy"][:-2] + b"\7\7")
    run(config)
    assert folder_bytes(folder) == before


@pytest.mark.parametrize("after", [1, 3])
def test_a_stopped_run_goes_on_where_it_stopped(config, tmp_path, monkeypatch, after):
    run(config, out=str(tmp_path / "whole"))
    written = []

    def stop_after_some(folder, name, shard):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(name)
        return write_shard(folder, name, shard)

    write_shard = shard_writer.write_shard
    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "write_shard", stop_after_some)
        with pytest.raises(KeyboardInterrupt):
            run(config)
    kept = {
        name: (tmp_path / "shards" / f"{name}.tokens.npy").stat().st_mtime_ns for name in written
    }
    recorder = Recorder()
    prepare(config, progress=recorder)
    assert any(f"{after} shards are complete" in line for line in recorder.said)
    for name, time in kept.items():
        assert (tmp_path / "shards" / f"{name}.tokens.npy").stat().st_mtime_ns == time
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_a_complete_folder_is_left_alone_and_says_so(config, tmp_path):
    manifest = run(config)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}
    recorder = Recorder()
    assert prepare(dataclasses.replace(config, num_workers=2), progress=recorder) == manifest
    assert recorder.said == [f"{tmp_path}/shards: found complete, nothing to do"]
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").iterdir()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"vocab_size": 160}, "was made with --vocab-size 150, not 160; use --vocab-size 150,"),
        ({"split": "lines"}, "--split sentences, not lines"),
        ({"tokenizer": "wordpiece"}, "--tokenizer sentencepiece, not wordpiece"),
        ({"source": ("text:{text}/a.txt",)}, r"holds shards of --source .*\*.txt, not .*a.txt"),
    ],
)
def test_other_options_in_the_same_folder_are_an_error(config, text, tmp_path, values, message):
    run(config)
    before = folder_bytes(tmp_path / "shards")
    if "source" in values:
        values = {"source": tuple(spec.format(text=text) for spec in values["source"])}
    with pytest.raises(UserError, match=message + ".*use another --out"):
        run(config, **values)
    assert folder_bytes(tmp_path / "shards") == before


def test_shards_copied_without_their_record_are_not_overwritten(config, tmp_path):
    manifest = run(config)
    (tmp_path / "shards" / "prepare.json").unlink()
    assert run(config) == manifest
    with pytest.raises(UserError, match="was made with --vocab-size 150, not 160"):
        run(config, vocab_size=160)


def test_changed_source_files_in_the_same_folder_are_an_error(config, text):
    run(config)
    (text / "c.txt").write_text("One more document.")
    with pytest.raises(UserError, match=r"c.txt has changed .*\(then absent, now 18 bytes\)"):
        run(config)


@pytest.mark.parametrize("what", ["moved", "not installed", "offline"])
def test_complete_shards_do_not_need_their_text(config, text, tmp_path, monkeypatch, what):
    if what == "not installed":
        package = tmp_path / "site" / "texts_of_mine"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (text / "a.txt").rename(package / "a.txt")
        monkeypatch.syspath_prepend(package.parent)
        config = dataclasses.replace(config, source=("text:package://texts_of_mine/a.txt",))
    manifest = run(config)
    if what == "offline":
        spec = "tfds:imdb_reviews"
        for file in ("prepare.json", MANIFEST_FILE):
            path = tmp_path / "shards" / file
            path.write_text(json.dumps(json.loads(path.read_text()) | {"sources": [spec]}))
        config, manifest = dataclasses.replace(config, source=(spec,)), read_manifest(config.out)
    for folder in (text, tmp_path / "site"):
        shutil.rmtree(folder, ignore_errors=True)
    importlib.invalidate_caches()
    recorder = Recorder()
    assert prepare(config, progress=recorder) == manifest
    assert recorder.said == [f"{tmp_path}/shards: found complete, nothing to do"]
    with pytest.raises(UserError, match="was made with --vocab-size 150, not 160"):
        run(config, vocab_size=160)


def test_complete_shards_of_an_installed_package_do_not_mind_where_it_lies(
    config, text, tmp_path, monkeypatch
):
    for place in ("here", "there"):
        package = tmp_path / place / f"texts_{place}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "a.txt").write_bytes((text / "a.txt").read_bytes())
        monkeypatch.syspath_prepend(package.parent)
    manifest = run(config, source=("text:package://texts_here/a.txt",))
    (tmp_path / "there" / "texts_there").rename(tmp_path / "there" / "texts_here")
    shutil.rmtree(tmp_path / "here")
    importlib.invalidate_caches()
    assert run(config, source=("text:package://texts_here/a.txt",)) == manifest


def test_a_folder_with_a_shard_missing_needs_its_text(config, text, tmp_path):
    run(config)
    (tmp_path / "shards" / "train-00001.tokens.npy").unlink()
    shutil.rmtree(text)
    with pytest.raises(UserError, match="must name a file, or a glob that matches some"):
        run(config)


def test_a_source_file_that_has_grown_is_an_error(config, text):
    run(config)
    with (text / "b.txt").open("a") as file:
        file.write(" More.")
    with pytest.raises(UserError, match=r"b.txt has changed .*\(then [\d,]+ bytes, now [\d,]+"):
        run(config)


def test_an_option_that_is_newer_than_the_shards_had_its_default(config, tmp_path):
    manifest = run(config)
    for file in ("prepare.json", MANIFEST_FILE):
        path = tmp_path / "shards" / file
        content = json.loads(path.read_text())
        del content["options"]["language"]
        path.write_text(json.dumps(content))
    assert run(config).splits == manifest.splits
    with pytest.raises(UserError, match="was made with --language en, not de"):
        run(config, language="de")


def test_a_loaded_tokenizer_in_a_folder_of_a_trained_one_is_named(config, tmp_path):
    run(config)
    tokenizer = str(tmp_path / "shards" / "tokenizer.model")
    with pytest.raises(UserError, match="was made with --tokenizer sentencepiece, not"):
        run(config, tokenizer=tokenizer)


def test_a_tokenizer_is_loaded_from_a_path_and_copied_beside_the_shards(config, tmp_path):
    vocabulary = [*SPECIAL_PIECES, *"abcdefghijklmnopqrstuvwxyz.", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz")]  # fmt: skip # noqa: E501
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    manifest = run(config, tokenizer=str(tmp_path / "vocab.txt"), lowercase=True)
    assert manifest.tokenizer.kind == "wordpiece"
    assert manifest.tokenizer.vocab_size == len(vocabulary)
    train = documents_of(tmp_path / "shards", manifest, "train")
    decoded = load_tokenizer(tmp_path / "shards").decode(train[0][0])
    assert decoded.isascii() and decoded == decoded.lower() and decoded.endswith(".")
    (tmp_path / "moved.txt").write_text("\n".join(vocabulary))
    assert run(config, tokenizer=str(tmp_path / "moved.txt"), lowercase=True) == manifest


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def unknown_in(folder, manifest: Manifest) -> int:
    return int(read_unigram_counts(folder, manifest)[SPECIAL_PIECES.index("[UNK]")])


def test_an_uncased_vocabulary_lowercases_and_its_copy_beside_the_shards_does(config, tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*SPECIAL_PIECES, *LETTERS, ".", *(f"##{c}" for c in LETTERS)]))
    folder = tmp_path / "shards"
    manifest = run(config, tokenizer=str(file))
    assert unknown_in(folder, manifest) == 0
    copied = load_tokenizer(folder)
    assert copied.encode("THE") == copied.encode("the")
    assert manifest.tokenizer.fingerprint == copied.fingerprint
    for lowercase in (None, True):
        assert run(config, tokenizer=str(file), lowercase=lowercase) == manifest
    with pytest.raises(UserError, match="was made with --tokenizer wordpiece"):
        run(config, tokenizer=str(file), lowercase=False)
    cased = run(config, tokenizer=str(file), lowercase=False, out=str(tmp_path / "cased"))
    assert unknown_in(tmp_path / "cased", cased) > 0


@pytest.mark.parametrize("lowercase", [True, False])
def test_casing_of_a_trained_tokenizer_is_recorded_as_it_takes_effect(config, lowercase):
    config = dataclasses.replace(config, tokenizer="wordpiece")
    manifest = run(config, lowercase=lowercase)
    assert manifest.options["lowercase"] is lowercase
    assert run(config, lowercase=lowercase) == manifest
    if lowercase:
        with pytest.raises(UserError, match="was made with --lowercase True, not False"):
            run(config)
    else:
        assert run(config) == manifest


def test_a_trained_tokenizer_in_a_folder_of_a_loaded_one_is_named(config, tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join([*SPECIAL_PIECES, *LETTERS, ".", *(f"##{c}" for c in LETTERS)]))
    run(config, tokenizer=str(file))
    with pytest.raises(UserError, match="was made with --tokenizer wordpiece .*, not wordpiece"):
        run(config, tokenizer="wordpiece")


def test_lines_are_kept_whole_where_asked(config):
    manifest = run(config, split="lines")
    totals = manifest.totals
    assert totals["train"]["num_sentences"] == 3 * totals["train"]["num_documents"]


def test_documents_of_which_nothing_is_left_are_counted(config, text):
    with (text / "c.jsonl").open("w") as file:
        for content in ("", " \n ", "\x07", document(0), document(1)):
            file.write(json.dumps({"text": content}) + "\n")
    manifest = run(config, source=(*config.source, f"jsonl:{text}/c.jsonl"))
    assert manifest.counts["empty documents"] >= 2
    assert manifest.counts["exact duplicates"] == 2
    kept = sum(totals["num_documents"] for totals in manifest.totals.values())
    assert kept + manifest.counts["empty documents"] + 2 == manifest.counts["documents"] == 65


def test_a_corpus_of_two_documents_has_one_on_each_side(config, tmp_path):
    (tmp_path / "two.txt").write_text(document(0) * 9 + "\n\n" + document(1) * 9)
    manifest = run(config, source=(f"text:{tmp_path}/two.txt",), sentencepiece_type="bpe")
    assert [manifest.totals[s]["num_documents"] for s in ("train", "held_out")] == [1, 1]


def test_a_single_document_is_trained_on(config, tmp_path):
    (tmp_path / "one.txt").write_text(document(0) * 9)
    manifest = run(config, source=(f"text:{tmp_path}/one.txt",), sentencepiece_type="bpe")
    assert [manifest.totals[s]["num_documents"] for s in ("train", "held_out")] == [1, 0]


def test_several_sources_follow_one_another(config, text):
    manifest = run(config, source=(f"text:{text}/b.txt", f"text:{text}/a.txt"))
    assert manifest.counts["documents"] == NUM_DOCUMENTS


BAD_INPUT = {
    "not UTF-8": ("text", b"fine words\n\nbad \xff byte\n", "bad.txt:3: text must be UTF-8"),
    "malformed JSON": ("jsonl", b'{"text": "fine"}\n{', "bad.txt:2: must be one JSON object"),
    "missing field": ("jsonl", b'{"text": "fine"}\n{"body": ""}', "bad.txt:2: has no field 'text'"),
    "no dump": ("wikipedia", b"words", "bad.txt:1: is not well-formed XML"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_leaves_nothing_behind(config, text, tmp_path, name, workers):
    kind, content, message = BAD_INPUT[name]
    (tmp_path / "bad.txt").write_bytes(content)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIAL_PIECES, "a"]))
    source = (*config.source, f"{kind}:{tmp_path}/bad.txt")
    for tokenizer in ("sentencepiece", str(vocabulary)):
        with pytest.raises(UserError, match=message):
            run(
                config, source=source, num_workers=workers, tokenizer=tokenizer,
                shard_tokens=10_000_000,
            )  # fmt: skip
        assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize("content", [b"", b"\n \n\n"])
def test_an_empty_corpus_is_an_error(config, tmp_path, content):
    (tmp_path / "empty.txt").write_bytes(content)
    with pytest.raises(UserError, match="must hold text, found no document in 1 files"):
        run(config, source=(f"text:{tmp_path}/empty.txt",))
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    "values", [{}, {"near_duplicates": 0.8}, {"mixture": (1.0,)}, {"exact_duplicates": "keep"}]
)
def test_nothing_left_says_how_many_documents_there_were_and_why_they_went(
    config, tmp_path, values
):
    (tmp_path / "copies.txt").write_text("\n\n".join([document(0), document(0), document(1)]))
    with pytest.raises(
        UserError,
        match="left of its 3 documents .3 documents shorter than --min-characters.; lower",
    ):
        run(config, source=(f"text:{tmp_path}/copies.txt",), min_characters=10**6, **values)
    assert not (tmp_path / "shards").exists()


def test_a_corpus_of_which_nothing_is_left_is_an_error(config, tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_PIECES, "a"]))
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n{"text": "\\n"}\n')
    with pytest.raises(UserError, match="nothing is left of its 2 documents"):
        run(
            config, source=(f"jsonl:{tmp_path}/blank.jsonl",),
            tokenizer=str(tmp_path / "vocab.txt"),
        )  # fmt: skip
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": ()}, "--source: must name where text comes from"),
        ({"out": ""}, "--out: must name the folder"),
        ({"source": ("text:/nowhere/*.txt",)}, "--source text:/nowhere"),
        ({"tokenizer": "/nowhere/vocab.txt"}, "--tokenizer /nowhere/vocab.txt: no such file"),
        ({"lowercase": True}, "--lowercase: needs --tokenizer wordpiece"),
        ({"vocab_size": 60_000}, "--vocab-size 60000: the text can fill at most"),
    ],
)
def test_mistakes_are_named_and_leave_nothing_behind(config, tmp_path, values, message):
    with pytest.raises(UserError, match=message):
        run(config, **values)
    assert not (tmp_path / "shards").exists()


def test_a_folder_that_cannot_be_written_is_an_error(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UserError, match="--out .*file/shards: must be a folder that can be written"
    ):
        run(config, out=str(tmp_path / "file" / "shards"))


def test_other_files_of_an_existing_folder_survive_an_error(config, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    mine = {name: b"mine" for name in ("notes.txt", "notes.tmp", "a.npy.spanbert-1.tmp", "a.model")}
    for name, content in mine.items():
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="the text can fill at most"):
        run(config, vocab_size=60_000)
    assert folder_bytes(folder) == mine
    (tmp_path / "blank.jsonl").write_text('{"text": " "}')
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_PIECES, "a"]))
    with pytest.raises(UserError, match="nothing is left of its 1 documents"):
        run(
            config, source=(f"jsonl:{tmp_path}/blank.jsonl",),
            tokenizer=str(tmp_path / "vocab.txt"),
        )  # fmt: skip
    assert folder_bytes(folder) == mine
    run(config)
    assert mine.items() <= folder_bytes(folder).items()


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer.model", "unigram.npy", "train-00000.tokens.npy"]
)
def test_files_of_others_are_neither_overwritten_nor_removed(config, tmp_path, name):
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / name).write_text("mine")
    (folder / "notes.tmp").write_text("mine")
    with pytest.raises(UserError, match=f"found {name} of no earlier run .* another folder"):
        run(config)
    assert folder_bytes(folder) == {name: b"mine", "notes.tmp": b"mine"}


def test_after_a_shard_that_could_not_be_written_whole_the_same_command_goes_on(
    config, tmp_path, monkeypatch
):
    def broken_disk(folder, name, shard):
        (folder / f"{name}.tokens.npy").write_text("")
        raise OSError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(shard_writer, "write_shard", broken_disk)
        with pytest.raises(OSError, match="Input/output error"):
            run(config)
    run(config)
    run(config, out=str(tmp_path / "whole"))
    assert folder_bytes(tmp_path / "shards") == folder_bytes(tmp_path / "whole")


def test_an_error_in_a_resumed_run_leaves_what_the_first_one_kept(config, tmp_path, monkeypatch):
    def stop(error):
        def write_shard(folder, name, shard):
            raise error

        monkeypatch.setattr(shard_writer, "write_shard", write_shard)

    stop(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(config)
    kept = folder_bytes(tmp_path / "shards")
    assert kept.keys() == {
        "tokenizer.model", "prepare.json", "in_progress/encoded-000000.unit",
    }  # fmt: skip
    for error in (OSError("Input/output error"), UserError("no fault of the folder")):
        stop(error)
        with pytest.raises(type(error)):
            run(config)
        assert folder_bytes(tmp_path / "shards") == kept
