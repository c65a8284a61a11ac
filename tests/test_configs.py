"""The configs of configs/, by the numbers that were published, and configs as JSON."""

import dataclasses
import itertools
import sys
from pathlib import Path

import pytest

from spanbert_jax.config import (
    FINE_TUNING_OPTIMIZER,
    DataConfig,
    FinetuneConfig,
    FineTuningConfig,
    LengthPhase,
    MaskingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RunPhase,
    TrainingConfig,
    check_devices,
    tokens_of_text,
)
from spanbert_jax.config.files import config_functions, load_config, load_module
from spanbert_jax.config.json import changed_fields, from_json, settings, to_json
from spanbert_jax.config.tasks import MrqaConfig, SquadConfig, TacredConfig
from spanbert_jax.errors import ConfigError, UserError

FOLDER = Path(__file__).resolve().parents[1] / "configs"
NAMES = [
    f"{file}:{function}"
    for file in sorted(FOLDER.glob("*.py"))
    for function in config_functions(load_module(file))
]
# The files of the others are of fine-tuning.
PRETRAINING = [
    name
    for name in NAMES
    if Path(name.rpartition(":")[0]).stem
    in ("ablations", "modern", "optimizers", "pretrain", "quickstart", "roberta")
]


def load(name: str) -> PretrainConfig:
    return load_config(f"{FOLDER}/{name}", PretrainConfig)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.rpartition("/")[2])
def test_every_config_builds_survives_json_and_documents_itself(name):
    command, kind = (
        ("pretrain", PretrainConfig) if name in PRETRAINING else ("finetune", FinetuneConfig)
    )
    config = load_config(name, kind)
    assert from_json(to_json(config)) == config
    file, _, function = name.rpartition(":")
    docstring = config_functions(load_module(Path(file)))[function].__doc__
    for word in ("Paper:", "Expected:", "Hardware:", f"Command: spanbert {command}"):
        assert word in docstring


def test_the_configs_are_the_ones_that_the_readme_promises():
    schemes = (
        "masking_subword", "masking_whole_word", "masking_named_entities", "masking_noun_phrases",
        "masking_geometric_span",
    )  # fmt: skip
    objectives = (
        "objective_two_segments_nsp", "objective_one_segment", "objective_one_segment_sbo",
    )  # fmt: skip
    rows = [*schemes, *objectives]
    assert [name.rpartition("/")[2] for name in PRETRAINING] == [
        *(f"ablations.py:{row}" for row in (*rows, *(f"{row}_paper" for row in rows))),
        "modern.py:modern_spanbert_base",
        "modern.py:modern_spanbert_base_8k",
        "optimizers.py:spanbert_base_adamw",
        "optimizers.py:spanbert_base_lamb",
        "optimizers.py:spanbert_base_adafactor",
        "optimizers.py:spanbert_base_lion",
        "optimizers.py:spanbert_base_muon",
        "optimizers.py:spanbert_base_wsd",
        "optimizers.py:spanbert_base_batch_warmup",
        "pretrain.py:spanbert_base",
        "pretrain.py:spanbert_large",
        "pretrain.py:spanbert_base_fast",
        "pretrain.py:spanbert_large_fast",
        "pretrain.py:spanbert_xl",
        "pretrain.py:bert_base",
        "pretrain.py:bert_large",
        "pretrain.py:bert_base_1seq",
        "pretrain.py:bert_base_two_phases",
        "pretrain.py:spanbert_base_paper",
        "pretrain.py:spanbert_large_paper",
        "quickstart.py:quickstart",
        "roberta.py:roberta_base",
        "roberta.py:roberta_large",
    ]


def test_spanbert_base_has_the_published_numbers():
    config = load("pretrain.py:spanbert_base")
    model, masking, optimizer = config.model, config.masking, config.optimizer
    assert (model.num_layers, model.hidden_size, model.num_heads, model.mlp_size) == (
        12, 768, 12, 3072,
    )  # fmt: skip
    assert (model.max_positions, model.dropout_rate, model.attention_dropout_rate) == (
        512, 0.1, 0.1,
    )  # fmt: skip
    assert model.layer_norm_epsilon == 1e-12
    assert model.initializer_std == 0.02
    assert model.span_boundary_head
    assert (model.boundary_offset_size, model.max_boundary_offsets) == (200, 15)
    assert (masking.scheme, masking.mask_ratio) == ("geometric_span", 0.15)
    assert (masking.geometric_p, masking.max_span_words) == (0.2, 10)
    assert (masking.mask_token_prob, masking.random_token_prob) == (0.8, 0.1)
    assert (config.data.batch_size, config.data.sequence_length) == (256, 512)
    assert config.num_predictions == 77
    assert config.training.num_steps == 2_400_000
    assert (optimizer.learning_rate, optimizer.warmup_steps) == (1e-4, 10_000)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
    assert (optimizer.weight_decay, optimizer.no_decay) == (0.01, ())
    assert optimizer.max_grad_norm == 1.0
    assert config.objective.span_boundary_weight == 1.0
    assert config.objective.loss_normalization == "original"


def test_other_optimizers_see_as_many_sequences_of_the_same_data():
    base = load("pretrain.py:spanbert_base")
    found = [load(name.rpartition("/")[2]) for name in PRETRAINING if "/optimizers.py" in name]
    for config in found:
        assert (config.model, config.masking, config.objective) == (
            base.model, base.masking, base.objective,
        )  # fmt: skip
        sequences = sum(
            (phase.end_step - phase.first_step) * phase.batch_size for phase in config.phases
        )
        assert sequences == 2_400_000 * 256
    assert {config.optimizer.name for config in found} == {
        "adamw", "lamb", "adafactor", "lion", "muon", "fairseq_adamw",
    }  # fmt: skip


def test_a_plateau_fits_into_the_run():
    with pytest.raises(ConfigError, match="--optimizer.warmup-steps 95: is more than the 90 of"):
        PretrainConfig(
            training=TrainingConfig(num_steps=100),
            optimizer=OptimizerConfig(warmup_steps=95, schedule="warmup_stable_decay"),
        )


def test_sentence_pairs_have_a_slot_more_for_the_second_budget():
    assert PretrainConfig(data=DataConfig(blocks="sentence_pair")).num_predictions == 78


@pytest.mark.parametrize(("length", "slots"), [(512, 85), (128, 21), (32, 5)])
def test_packed_rows_have_a_slot_more_for_every_64_tokens(length, slots):
    data = DataConfig(blocks="packed", sequence_length=length)
    assert PretrainConfig(data=data).num_predictions == slots
    assert tokens_of_text(length, "packed") == length - 2


def test_packed_rows_need_one_segment_id_and_may_come_without_any():
    data = DataConfig(blocks="packed")
    assert PretrainConfig(model=ModelConfig(num_segments=0), data=data).data.blocks == "packed"


def test_spanbert_large_is_base_at_the_size_of_bert_large():
    base, large = load("pretrain.py:spanbert_base"), load("pretrain.py:spanbert_large")
    model = large.model
    assert (model.num_layers, model.hidden_size, model.num_heads, model.mlp_size) == (
        24, 1024, 16, 4096,
    )  # fmt: skip
    assert dataclasses.replace(large, model=base.model) == base


def test_bert_of_single_sequences_differs_in_masks_and_objective_alone():
    base, bert = load("pretrain.py:spanbert_base"), load("pretrain.py:bert_base_1seq")
    assert changed_fields(base, bert, ("model", "masking")) == [
        ("--model.span-boundary-head", True, False),
        ("--masking.scheme", "geometric_span", "subword"),
    ]
    assert dataclasses.replace(bert, model=base.model, masking=base.masking) == base


def test_bert_in_two_phases_differs_in_steps_and_short_rows_alone():
    bert, two_phases = load("pretrain.py:bert_base"), load("pretrain.py:bert_base_two_phases")
    assert differences(bert, two_phases) == [
        ("--data.phases", (), (LengthPhase(900_000, 128),)),
        ("--training.num-steps", 2_400_000, 1_000_000),
    ]
    assert two_phases.phases == (
        RunPhase(0, 900_000, 128, 256, "900000:128"), RunPhase(900_000, 1_000_000, 512, 256),
    )  # fmt: skip


def differences(one: PretrainConfig, other: PretrainConfig) -> list[tuple[str, object, object]]:
    sections = tuple(field.name for field in dataclasses.fields(PretrainConfig))
    return changed_fields(one, other, sections)


@pytest.mark.parametrize("size", ["base", "large"])
def test_bert_is_spanbert_on_pairs_with_single_masks_and_the_next_sentence(size):
    spanbert, bert = load(f"pretrain.py:spanbert_{size}"), load(f"pretrain.py:bert_{size}")
    assert differences(spanbert, bert) == [
        ("--model.pooler", False, True),
        ("--model.next-sentence-head", False, True),
        ("--model.span-boundary-head", True, False),
        ("--masking.scheme", "geometric_span", "subword"),
        ("--data.blocks", "document", "sentence_pair"),
    ]
    assert bert.num_predictions == 78


KEPT = ("--checkpoint.keep-every-steps", 0, 1_200_000)


def test_rows_of_the_ablation_tables_differ_in_what_the_table_compares():
    bert, spanbert = load("pretrain.py:bert_large"), load("pretrain.py:spanbert_large")
    subword, whole_word, entities, phrases, geometric, pairs, single, single_sbo = (
        load(f"ablations.py:{row}")
        for row in (
            "masking_subword", "masking_whole_word", "masking_named_entities",
            "masking_noun_phrases", "masking_geometric_span",
            "objective_two_segments_nsp", "objective_one_segment", "objective_one_segment_sbo",
        )
    )  # fmt: skip
    assert differences(bert, subword) == [KEPT]
    scheme = "--masking.scheme"
    assert differences(subword, whole_word) == [(scheme, "subword", "whole_word")]
    assert differences(subword, entities) == [(scheme, "subword", "tagged_span")]
    assert phrases == entities
    assert differences(subword, geometric) == [(scheme, "subword", "geometric_span")]
    assert pairs == geometric
    assert differences(pairs, single) == [
        ("--model.pooler", True, False),
        ("--model.next-sentence-head", True, False),
        ("--data.blocks", "sentence_pair", "document"),
    ]
    assert differences(single, single_sbo) == [("--model.span-boundary-head", False, True)]
    assert differences(spanbert, single_sbo) == [KEPT]


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_paper")])
def test_every_reading_of_the_paper_differs_in_anchors_weight_decay_and_normalization(name):
    released = load_config(name.removesuffix("_paper"), PretrainConfig)
    # Single tokens are what they are, wherever they are drawn from.
    anchors = released.masking.scheme != "subword"
    # Beside annotated spans the released code hides spans, the paper words.
    tagged = released.masking.scheme == "tagged_span"
    assert differences(released, load_config(name, PretrainConfig)) == [
        *([("--masking.anchor", "subword", "word")] if anchors else []),
        *([("--masking.base-scheme", "geometric_span", "whole_word")] if tagged else []),
        ("--objective.loss-normalization", "original", "paper"),
        ("--optimizer.weight-decay", 0.01, 0.1),
    ]


def test_roberta_has_the_published_numbers():
    base, large = load("roberta.py:roberta_base"), load("roberta.py:roberta_large")
    assert (base.model.num_segments, base.model.position_offset) == (0, 2)
    assert base.model.layer_norm_epsilon == 1e-5 and not base.model.span_boundary_head
    assert (base.data.batch_size, base.data.sequence_length) == (8_192, 512)
    optimizer = base.optimizer
    assert (optimizer.learning_rate, optimizer.warmup_steps) == (6e-4, 24_000)
    assert (optimizer.beta2, optimizer.epsilon, optimizer.weight_decay) == (0.98, 1e-6, 0.01)
    assert optimizer.max_grad_norm == 0.0 and base.training.num_steps == 500_000
    assert (large.optimizer.learning_rate, large.optimizer.warmup_steps) == (4e-4, 30_000)
    assert (large.model.num_layers, large.model.hidden_size) == (24, 1_024)


@pytest.mark.parametrize(
    "name, task, num_epochs",
    [
        ("squad.py:squad1", SquadConfig(), 4),
        ("squad.py:squad2", SquadConfig(unanswerable=True), 4),
        *(
            (f"mrqa.py:{each}", MrqaConfig(half="dev"), 4)
            for each in ("newsqa", "triviaqa", "searchqa", "hotpotqa", "natural_questions")
        ),
        ("relation.py:tacred", TacredConfig(), 10),
    ],
)
def test_fine_tuning_has_the_numbers_of_the_paper(name, task, num_epochs):
    config = load_config(f"{FOLDER}/{name}", FinetuneConfig)
    # Appendix B: 512 tokens and a window of 128 for questions, 128 tokens for sentences.
    assert config.task == task
    if isinstance(task, TacredConfig):
        assert (task.max_length, task.mode, task.negative_label) == (128, "ner", "no_relation")
    else:
        assert (task.max_length, task.doc_stride, task.max_query_length) == (512, 128, 64)
        assert (task.n_best, task.max_answer_length, task.answerless_windows) == (20, 30, 1.0)
    assert (config.training.num_epochs, config.training.evaluations_per_epoch) == (num_epochs, 10)
    assert config.cells == ((2e-5, 32),) and config.checkpoint.keep_best == 1
    assert config.optimizer == FINE_TUNING_OPTIMIZER


def test_the_optimizer_of_fine_tuning_is_that_of_the_released_scripts():
    optimizer = FINE_TUNING_OPTIMIZER
    assert (optimizer.name, optimizer.epsilon) == ("bert_adam", 1e-6)
    assert (optimizer.beta1, optimizer.beta2) == (0.9, 0.999)
    assert (optimizer.schedule, optimizer.warmup_steps) == ("warmup_linear", 0)
    assert optimizer.warmup_fraction == 0.1
    assert (optimizer.weight_decay, optimizer.no_decay) == (0.01, ("bias", "norm"))
    assert (optimizer.max_grad_norm, optimizer.clip_by) == (1.0, "tensor_norm")


def test_the_grid_of_the_paper_is_its_learning_rates_with_each_of_its_batch_sizes():
    paper = FinetuneConfig(grid="paper")
    rates = (5e-6, 1e-5, 2e-5, 3e-5, 5e-5)
    assert sorted(paper.cells) == sorted(itertools.product(rates, (16, 32)))
    released = FinetuneConfig(grid="released", training=FineTuningConfig(batch_size=8))
    assert released.cells == tuple((rate, 8) for rate in (1e-6, 2e-6, 3e-6, *rates))
    assert paper.is_grid and released.is_grid
    assert not FinetuneConfig().is_grid and FinetuneConfig(seeds=5).is_grid


def test_dev_is_scored_ten_times_an_epoch_unless_asked_otherwise():
    training = FineTuningConfig()
    # 100 steps of 32 rows an epoch, 4 epochs.
    assert (training.num_steps(3_200), training.eval_every(3_200)) == (400, 10)
    # Of less than ten steps an epoch after each; a batch that is not full is a step.
    assert (training.num_steps(100), training.eval_every(100)) == (16, 1)
    once = dataclasses.replace(training, evaluations_per_epoch=1)
    assert once.eval_every(3_200) == 100
    at_the_end = dataclasses.replace(training, evaluations_per_epoch=0)
    assert at_the_end.eval_every(3_200) == at_the_end.num_steps(3_200) == 400


PHASES = (LengthPhase(2, 16, 24), LengthPhase(3, 32))


def test_phases_lie_one_after_the_other_and_the_last_is_of_the_data_itself():
    config = PretrainConfig(
        data=DataConfig(phases=PHASES, batch_size=64), training=TrainingConfig(num_steps=10_000)
    )
    assert config.phases == (
        RunPhase(0, 2, 16, 24, "2:16:24"), RunPhase(2, 5, 32, 64, "3:32"),
        RunPhase(5, 10_000, 512, 64),
    )  # fmt: skip
    of_first = config.of_phase(config.phases[0])
    assert differences(config, of_first) == [
        ("--data.sequence-length", 512, 16),
        ("--data.batch-size", 64, 24),
        ("--data.phases", PHASES, ()),
    ]
    assert PretrainConfig().phases == (RunPhase(0, 2_400_000, 512, 256),)


def test_phases_survive_json_and_an_older_run_has_none():
    config = PretrainConfig(data=DataConfig(phases=PHASES))
    assert from_json(to_json(config)) == config
    assert from_json('{"data": {"sequence_length": 64}}').data.phases == ()
    with pytest.raises(UserError, match=r"--data.phases.sequence-length is '16', expected int"):
        from_json('{"data": {"phases": [{"num_steps": 2, "sequence_length": "16"}]}}')


def test_every_phase_is_split_over_microbatches_and_devices():
    with pytest.raises(ConfigError) as raised:
        PretrainConfig(data=DataConfig(phases=PHASES), training=TrainingConfig(num_microbatches=16))
    assert str(raised.value) == (
        "--data.phases 2:16:24, batch size 24: is not divisible by --training.num-microbatches 16; "
        "use 16 or 32"
    )
    check_devices(PretrainConfig(data=DataConfig(phases=PHASES)), 8)
    with pytest.raises(ConfigError) as raised:
        check_devices(PretrainConfig(data=DataConfig(phases=PHASES)), 16)
    assert str(raised.value) == (
        "--data.phases 2:16:24, batch size 24: is not divisible by the 16 devices that share it; "
        "use 16 or 32"
    )


def test_json_keeps_tuples_none_and_nested_fields_exactly():
    config = PretrainConfig(
        workdir="gs://bucket/run",
        model=ModelConfig(vocab_size=28_996),
        data=DataConfig(verify_shards=True),
        optimizer=OptimizerConfig(learning_rate=0.1 + 0.2, no_decay=("bias", "layer_norm")),
        fill=("Ein «[MASK]» \u2028 Satz.",),
    )
    assert from_json(to_json(config)) == config
    assert from_json(to_json(PretrainConfig())).model.vocab_size is None


def test_a_field_that_an_older_version_did_not_write_takes_its_default():
    assert from_json('{"model": {"num_layers": 3}}') == PretrainConfig(
        model=ModelConfig(num_layers=3)
    )


@pytest.mark.parametrize(
    "text, part",
    [
        ('{"model": {"num_legs": 4}}', "--model.num-legs, which this version"),
        ('{"colour": 4}', "--colour, which this version"),
        ('{"model": {"num_layers": "4"}}', "--model.num-layers is '4', expected int"),
        ('{"model": {"num_layers": true}}', "--model.num-layers is True"),
        ('{"model": {"vocab_size": 1.5}}', "--model.vocab-size is 1.5"),
        ('{"masking": {"scheme": "spans"}}', "--masking.scheme is 'spans'"),
        ('{"masking": {"base_scheme": "tagged_span"}}', "--masking.base-scheme is 'tagged_span'"),
        ('{"fill": "text"}', "--fill is 'text'"),
        ('{"fill": [1]}', "--fill is 1, expected str"),
        ('{"model": 3}', "--model is 3, expected ModelConfig"),
        ("{", "no JSON"),
        ("[]", "expected PretrainConfig"),
    ],
)
def test_json_of_another_shape_is_an_error_that_names_the_field(text, part):
    with pytest.raises(UserError) as raised:
        from_json(text)
    assert part in str(raised.value)


def test_draws_beside_annotated_spans_follow_the_base_scheme_all_others_their_own():
    assert MaskingConfig(scheme="uniform_span").untagged_scheme == "uniform_span"
    tagged = MaskingConfig(scheme="tagged_span", base_scheme="whole_word")
    assert tagged.untagged_scheme == "whole_word"


@pytest.mark.parametrize(
    "values, message",
    [
        ({"mask_ratio": 0.0}, "--masking.mask-ratio 0.0: must be between 0 and 1"),
        ({"mask_ratio": 1.0}, "--masking.mask-ratio 1.0: must be between 0 and 1"),
        ({"geometric_p": 0.0}, "--masking.geometric-p 0.0: must be between 0 and 1"),
        ({"geometric_p": 1.0}, "--masking.geometric-p 1.0: must be between 0 and 1"),
        ({"max_span_words": 0}, "--masking.max-span-words 0: must be greater than 0"),
        ({"tagged_prob": -0.1}, "--masking.tagged-prob -0.1: must be in [0, 1)"),
        ({"tagged_prob": 1.0}, "--masking.tagged-prob 1.0: must be in [0, 1)"),
        ({"tagged_prob": float("nan")}, "--masking.tagged-prob nan: must be in [0, 1)"),
        ({"mask_token_prob": -0.1}, "--masking.mask-token-prob -0.1: with"),
        ({"random_token_prob": 0.3}, "--masking.mask-token-prob 0.8: with --masking.random-token"),
    ],
)
def test_a_value_of_masking_that_is_out_of_range_names_its_rule(values, message):
    with pytest.raises(ConfigError) as raised:
        MaskingConfig(**values)
    assert str(raised.value).startswith(message)
    assert "; use " in str(raised.value)


def test_json_with_a_value_out_of_range_is_a_config_error():
    with pytest.raises(ConfigError, match="--model.num-layers 0: must be greater than 0"):
        from_json('{"model": {"num_layers": 0}}')


def test_changed_fields_name_flag_old_and_new_value_of_the_sections_asked_for():
    old = PretrainConfig()
    new = PretrainConfig(
        workdir="elsewhere",
        model=ModelConfig(num_layers=24),
        optimizer=OptimizerConfig(learning_rate=1.0),
    )
    assert changed_fields(old, new, ("model",)) == [("--model.num-layers", 12, 24)]
    assert changed_fields(old, new, ("workdir",)) == [("--workdir", "", "elsewhere")]
    assert changed_fields(old, old, ("model", "optimizer")) == []


def test_settings_are_every_field_by_its_flag_as_it_is_typed():
    phases = (LengthPhase(9, 128), LengthPhase(7, 64))
    config = PretrainConfig(workdir="a", data=DataConfig(phases=phases, sequence_length=256))
    found = settings(config)
    typed = {"--workdir": "a", "--data.phases": "9:128 7:64", "--fill": "nothing"}
    assert typed.items() <= found.items()
    other = dataclasses.replace(config, mesh=MeshConfig(fsdp=2))
    assert settings(other).items() - found.items() == {("--mesh.fsdp", "2")}


def test_nothing_is_left_beside_a_config_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "neighbour_of_mine.py").write_text("STEPS = 7\n")
    (tmp_path / "mine.py").write_text("import neighbour_of_mine\n")
    assert load_module(tmp_path / "mine.py").neighbour_of_mine.STEPS == 7
    assert {path.name for path in tmp_path.iterdir()} == {"mine.py", "neighbour_of_mine.py"}
    assert not sys.dont_write_bytecode
