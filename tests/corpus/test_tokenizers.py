"""Tokenizers: ids as BERT's, special pieces never out of text, the same training twice."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers

from spanbert_jax.config import PrepareConfig
from spanbert_jax.corpus.tokenizers import SPECIAL_PIECES, load_tokenizer, train_tokenizer
from spanbert_jax.errors import UserError

GOLDEN = json.loads((Path(__file__).parent / "golden" / "bert_wordpiece.json").read_text())
TEXTS = [
    "The city of Athens is the capital of Greece, and its largest city.",
    "Playing and played, the players play: they were playing with what they had played.",
    "She said that the weather would be better tomorrow than it was today.",
    "No one knows why the unknown is unknowable, or whether it should be known.",
    "In 1854 the river rose by 12 feet; the old bridge was swept away (again).",
    "When the fog came down over the harbour, nobody could see the lighthouse any longer.",
    "A good teacher explains, a better one asks, and the best one listens for a while.",
    "They walked through the forest until the path ended at a quiet lake below the mountains.",
    "Every morning the baker lights the oven, kneads the dough and opens the wooden shutters.",
    "Scientists measured the temperature of the water at several depths during the winter.",
    "The committee published its report in spring, after two years of careful inquiry.",
    "Her grandmother kept letters, photographs and dried flowers in a small green box.",
]
KINDS = [("sentencepiece", "unigram"), ("sentencepiece", "bpe"), ("wordpiece", "unigram")]


def trained(kind: str, model_type: str = "unigram", **values):
    values = {"vocab_size": 110} | values
    config = PrepareConfig(tokenizer=kind, sentencepiece_type=model_type, **values)
    return train_tokenizer(config, iter(TEXTS * 3))


def pieces_of(tokenizer, ids) -> list[str]:
    return [tokenizer.id_to_piece(token_id) for token_id in ids]


@pytest.fixture(scope="module")
def bert_vocabulary(tmp_path_factory) -> Path:
    """BERT's vocab.txt; entries that the 200 sentences do not need are filled up."""
    lines = [f"[filler{i}]" for i in range(GOLDEN["vocab_size"])]
    for piece, token_id in GOLDEN["pieces"].items():
        lines[token_id] = piece
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> Path:
    if folder := os.environ.get("SPANBERT_REFERENCE"):
        return Path(folder) / "hf_minilm"
    return request.getfixturevalue("shared") / "reference" / "hf_minilm"


@pytest.mark.parametrize(
    ("lowercase", "expected"), [(True, "orig_lower_ids"), (False, "orig_cased_mode_ids")]
)
def test_200_sentences_get_the_ids_that_bert_gives_them(
    bert_vocabulary, reference, lowercase, expected
):
    """Two of them spell special pieces, which the original reads as such and we as plain text."""
    sentences = json.loads((reference / "sentences.json").read_text(encoding="utf-8"))
    with np.load(reference / "tokenisation.npz") as arrays:
        of_bert = np.split(arrays[expected], arrays[f"{expected}_offsets"][1:-1])
        ordinary = np.setdiff1d(np.arange(len(sentences)), arrays["differs"])
    assert (len(sentences), len(of_bert), len(ordinary)) == (200, 200, 198)
    tokenizer = load_tokenizer(bert_vocabulary, lowercase=lowercase)
    ids = tokenizer.encode_batch(sentences)
    for i in ordinary:
        assert ids[i] == of_bert[i].tolist()
        assert ids[i] == tokenizer.encode(sentences[i])
    assert (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id) == (0, 100, 101)
    assert (tokenizer.sep_id, tokenizer.mask_id) == (102, 103)


def test_word_starts_follow_the_hash_rule(bert_vocabulary):
    tokenizer = load_tokenizer(bert_vocabulary)
    inside = [i for piece, i in GOLDEN["pieces"].items() if piece.startswith("##")]
    assert inside
    assert np.flatnonzero(~tokenizer.word_starts).tolist() == inside


def test_word_starts_follow_the_word_mark_rule_and_special_pieces_start_words():
    tokenizer = trained("sentencepiece")
    starts = tokenizer.word_starts
    assert starts.shape == (110,)
    assert starts[:5].all()
    for token_id in range(5, 110):
        assert starts[token_id] == tokenizer.id_to_piece(token_id).startswith("▁")


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_first_ids_of_a_trained_tokenizer_are_the_special_pieces(kind, model_type):
    tokenizer = trained(kind, model_type)
    assert pieces_of(tokenizer, range(5)) == list(SPECIAL_PIECES)
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id)
    assert (*ids, tokenizer.mask_id) == (0, 1, 2, 3, 4)
    assert tokenizer.vocab_size == 110


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_special_pieces_in_a_text_are_spelled_like_any_word(kind, model_type):
    tokenizer = trained(kind, model_type)
    text = "a [MASK] and [CLS][SEP] of [PAD]"
    for ids in (tokenizer.encode(text), *tokenizer.encode_batch([text])):
        assert not {0, 2, 3, 4} & set(ids)


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_masks_are_read_where_they_are_meant_and_the_rest_is_as_after_a_word(kind, model_type):
    tokenizer = trained(kind, model_type)
    mask = [tokenizer.mask_id]
    assert tokenizer.encode_with_masks("the [MASK] city") == (
        tokenizer.encode("the") + mask + tokenizer.encode("city")
    )
    assert tokenizer.encode_with_masks("[MASK] [MASK]") == mask + mask
    assert tokenizer.encode_with_masks("the city") == tokenizer.encode("the city")
    (after,) = tokenizer.encode("city.")[len(tokenizer.encode("city")) :]
    assert tokenizer.encode_with_masks("the [MASK].") == tokenizer.encode("the") + mask + [after]


def test_a_mask_in_bert_sentences_is_read_as_the_original_reads_it(bert_vocabulary):
    tokenizer = load_tokenizer(bert_vocabulary, lowercase=True)
    assert tokenizer.encode_with_masks("[MASK] is a token")[0] == 103
    assert tokenizer.encode_with_masks("[mask] is a token")[0] != 103


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_decoding_gives_the_text_back(model_type):
    tokenizer = trained("sentencepiece", model_type)
    for text in TEXTS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    with_mask = "The city of [MASK] [MASK] is the capital."
    assert tokenizer.decode(tokenizer.encode_with_masks(with_mask)) == with_mask


def test_decoding_hides_padding_and_separators():
    for kind in ("sentencepiece", "wordpiece"):
        tokenizer = trained(kind)
        ids = [tokenizer.cls_id, *tokenizer.encode("the city"), tokenizer.sep_id, tokenizer.pad_id]
        assert tokenizer.decode(np.array(ids)) == "the city"


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_training_twice_gives_the_same_tokenizer(kind, model_type, tmp_path):
    files = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        files.append((folder / trained(kind, model_type).save(folder)).read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_a_saved_tokenizer_is_read_back_from_its_folder(kind, model_type, tmp_path):
    tokenizer = trained(kind, model_type)
    name = tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / name):
        again = load_tokenizer(path)
        assert again.fingerprint == tokenizer.fingerprint
        assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_fingerprint_depends_on_vocabulary_and_casing(bert_vocabulary, tmp_path):
    cased, uncased = (load_tokenizer(bert_vocabulary, lowercase=flag) for flag in (False, True))
    assert cased.fingerprint != uncased.fingerprint
    content = bert_vocabulary.read_text().replace("[filler1]", "[another]")
    (tmp_path / "vocab.txt").write_text(content)
    assert load_tokenizer(tmp_path).fingerprint != cased.fingerprint
    assert trained("sentencepiece").fingerprint != trained("sentencepiece", "bpe").fingerprint


LETTERS = [*SPECIAL_PIECES, *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]


def write_vocabulary(folder: Path, pieces: list[str] = LETTERS) -> Path:
    file = folder / "vocab.txt"
    file.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return file


def write_released(folder: Path, *, lowercase: bool) -> tuple[Path, dict]:
    """tokenizer.json as Hugging Face publishes it beside a vocab.txt of LETTERS, and its tree."""
    vocabulary = {piece: token_id for token_id, piece in enumerate(LETTERS)}
    rust = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    rust.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    rust.decoder = tokenizers.decoders.WordPiece(cleanup=False)
    rust.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    rust.add_special_tokens(list(SPECIAL_PIECES))
    rust.enable_truncation(128)
    rust.enable_padding(length=128)
    file = folder / "tokenizer.json"
    rust.save(str(file))
    return file, json.loads(file.read_text())


@pytest.mark.parametrize("lowercase", [True, False])
def test_vocab_txt_and_tokenizer_json_of_one_model_have_one_fingerprint(tmp_path, lowercase):
    released, tree = write_released(tmp_path, lowercase=lowercase)
    assert tree["normalizer"]["strip_accents"] is None
    ours = load_tokenizer(write_vocabulary(tmp_path), lowercase=lowercase)
    theirs = load_tokenizer(released)
    assert theirs.encode("Bad [MASK] Décade") == ours.encode("Bad [MASK] Décade")
    assert theirs.fingerprint == ours.fingerprint


def add_piece(tree: dict, content: str, token_id: int, *, special: bool) -> None:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tree["added_tokens"] += [{"id": token_id, "content": content, "special": special, **flags}]


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["normalizer"].update(lowercase=False),
        lambda tree: tree["normalizer"].update(strip_accents=False),
        lambda tree: tree["normalizer"].update(handle_chinese_chars=False),
        lambda tree: tree["normalizer"].update(clean_text=False),
        lambda tree: tree.update(pre_tokenizer={"type": "Whitespace"}),
        lambda tree: tree["model"].update(max_input_chars_per_word=9),
        lambda tree: tree["model"]["vocab"].update(z=tree["model"]["vocab"].pop("h")),
        lambda tree: add_piece(tree, "bad", len(LETTERS), special=False),
        lambda tree: add_piece(tree, "bad", len(LETTERS), special=True),
        lambda tree: tree["added_tokens"][4].update(special=False),
    ],
    ids=[
        "lowercase", "strip_accents", "handle_chinese_chars", "clean_text", "pre_tokenizer",
        "longest word", "vocabulary", "added piece", "added special piece", "mask found in text",
    ],
)  # fmt: skip
def test_whatever_changes_ids_changes_the_fingerprint(tmp_path, change):
    file, tree = write_released(tmp_path, lowercase=True)
    before = load_tokenizer(file).fingerprint
    change(tree)
    file.write_text(json.dumps(tree))
    assert load_tokenizer(file).fingerprint != before


def test_an_uncased_vocabulary_lowercases_unless_told_otherwise(tmp_path):
    file = write_vocabulary(tmp_path)
    lower = load_tokenizer(file).encode("bad")
    assert load_tokenizer(file).encode("BAD") == lower
    assert load_tokenizer(file, lowercase=False).encode("BAD") == [1]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_tokenizer(file).encode("BAD") == [1]
    assert load_tokenizer(file, lowercase=True).encode("BAD") == lower


def test_a_vocabulary_with_capitals_is_cased_whatever_its_file_is_called(tmp_path):
    file = write_vocabulary(tmp_path, [*LETTERS, "B"]).rename(tmp_path / "words.txt")
    assert load_tokenizer(file).encode("B") == [len(LETTERS)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_casing_cannot_be_stated_of_a_file_that_states_it(tmp_path, lowercase):
    file, _ = write_released(tmp_path, lowercase=True)
    with pytest.raises(UserError, match=f"--lowercase {lowercase}: .*tokenizer.json says itself"):
        load_tokenizer(file, lowercase=lowercase)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"name": "caf\xe9"}', "must be a JSON object in UTF-8 .* restore it"),
        (b"[]", "must be a JSON object in UTF-8"),
        (b"{", "must be a JSON object in UTF-8"),
        (b'{"do_lower_case": "false"}', "do_lower_case must be true or false, found 'false'"),
    ],
)
def test_a_broken_tokenizer_config_beside_a_vocabulary_is_an_error(tmp_path, content, message):
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    file = write_vocabulary(tmp_path)
    with pytest.raises(UserError, match=f"tokenizer_config.json: {message}"):
        load_tokenizer(file)
    assert load_tokenizer(file, lowercase=True).encode("A") == [5]


def test_casing_is_kept_unless_lowercase_is_asked_for():
    assert "The" in trained("wordpiece").decode(trained("wordpiece").encode(TEXTS[0]))
    lower = trained("wordpiece", lowercase=True)
    assert lower.decode(lower.encode("THE CITY")) == "the city"


@pytest.mark.parametrize(("kind", "model_type"), KINDS)
def test_too_little_text_for_the_vocabulary_states_the_largest_possible(kind, model_type):
    with pytest.raises(
        UserError, match=r"--vocab-size 9000: the text can fill at most \d+"
    ) as error:
        trained(kind, model_type, vocab_size=9_000)
    largest = int(str(error.value).split("at most ")[1].split()[0])
    assert trained(kind, model_type, vocab_size=largest).vocab_size == largest


class Interrupting(str):
    """A text at which the user presses Ctrl-C."""

    def __getitem__(self, _):
        raise KeyboardInterrupt


def test_training_can_be_interrupted():
    config = PrepareConfig(tokenizer="sentencepiece", vocab_size=110)
    with pytest.raises(KeyboardInterrupt):
        train_tokenizer(config, iter([*TEXTS, Interrupting("No more of this.")]))


def test_training_says_nothing_on_stderr(capfd):
    trained("sentencepiece")
    assert capfd.readouterr().err == ""


def foreign_model(path: Path, **options) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(path.with_suffix("")), vocab_size=90,
        minloglevel=2, **options,
    )  # fmt: skip
    return path


def test_a_foreign_model_without_special_pieces_names_the_missing_ones(tmp_path):
    path = foreign_model(tmp_path / "foreign.model")
    with pytest.raises(UserError, match=r"missing are \[PAD\] \[CLS\] \[SEP\] \[MASK\]; train"):
        load_tokenizer(path)


def test_a_mask_that_text_could_produce_is_refused(tmp_path):
    path = foreign_model(
        tmp_path / "foreign.model", pad_id=3, user_defined_symbols=["[MASK]"],
        control_symbols=["[CLS]", "[SEP]"],
    )  # fmt: skip
    with pytest.raises(UserError, match=r"missing are \[MASK\]"):
        load_tokenizer(path)


def test_a_foreign_model_with_control_symbols_is_accepted(tmp_path):
    path = foreign_model(
        tmp_path / "foreign.model", pad_id=3, control_symbols=["[CLS]", "[SEP]", "[MASK]"]
    )
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.pad_id == 3
    assert tokenizer.fingerprint == load_tokenizer(path).fingerprint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.model", "no model", "broken.model: is not a SentencePiece model"),
        ("vocab.txt", "a\nb\n", r"vocab.txt: .* missing are \[PAD\] \[UNK\]"),
        ("vocab.txt", "\n".join([*SPECIAL_PIECES, "a", "a"]), "'a' stands on several"),
        ("tokenizer.json", "{", "tokenizer.json: is not a tokenizer.json"),
        ("vocab.bin", "", "unknown kind of file; name"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_tokenizer(tmp_path / name)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"type": "BPE", "vocab": {"a": 0}, "merges": []},
         r"must be over bytes \(pre_tokenizer ByteLevel\), found BertPreTokenizer"),
        ({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
         "must hold a WordPiece or a byte-level BPE model, found WordLevel"),
    ],
)  # fmt: skip
def test_a_tokenizer_json_of_another_model_is_an_error(tmp_path, model, message):
    tokenizer = trained("wordpiece")
    path = tmp_path / tokenizer.save(tmp_path)
    content = json.loads(path.read_text())
    content["model"] = model
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_tokenizer(path)


def test_a_vocabulary_that_is_not_utf_8_is_an_error(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="vocab.txt: is not UTF-8"):
        load_tokenizer(tmp_path / "vocab.txt")


def test_a_path_without_a_tokenizer_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no such file; use sentencepiece or wordpiece"):
        load_tokenizer(tmp_path / "nothing.model")
    with pytest.raises(UserError, match="the folder must hold one of"):
        load_tokenizer(tmp_path)
