"""What `--help` says, of the program and of each command."""

from spanbert_jax import __version__

HELP = f"""\
spanbert {__version__}: pretrain span-aware text encoders on TPUs, GPUs and CPUs.

usage: spanbert COMMAND ...

  prepare         turn raw text into shards of token ids
  plan            reckon memory, time and cost of a run on TPU chips, before you pay for them
  pretrain        pretrain a model by a config; run it again and it goes on
  finetune        teach a pretrained model a task by a config, or try a grid of settings
  evaluate        score a fine-tuned model on a file, write predictions in the official formats
  inspect shards  say what shards hold, or measure and show what masks hide in them
  predict fill    fill in the [MASK] tokens of sentences with a pretrained model
  predict answer | classify | relation | tag
                  ask a fine-tuned model about one text, a file or standard input
  import          turn released weights of BERT, SpanBERT or RoBERTa into a checkpoint
  export          write a checkpoint as a folder that Hugging Face Transformers loads

examples:
  spanbert pretrain configs/quickstart.py

  spanbert prepare --source 'text:/data/*.txt' --vocab-size 32000 --out /data/shards
  spanbert plan configs/pretrain.py:spanbert_base --topology v5e:4x8
  spanbert pretrain configs/pretrain.py:spanbert_base --data.shards /data/shards --workdir /runs/a
  spanbert inspect shards /data/shards --mask geometric_span --out masks.html
  spanbert finetune configs/squad.py:squad2 --init-from /runs/a --task.train train.json \\
      --task.dev dev.json --workdir /runs/squad2
  spanbert evaluate /runs/squad2 --task.dev dev.json
  spanbert predict answer --checkpoint /runs/squad2 "Where was Ada born?" --context "Ada ..."
  spanbert predict fill --checkpoint /runs/a "The capital of France is [MASK] [MASK] ."
  spanbert import /models/spanbert-base-cased --out /runs/imported
  spanbert export /runs/a --out /models/a

Every value of a config is a flag: --optimizer.learning-rate 2e-4, --training.num-steps 1000.
`spanbert COMMAND --help` lists the flags of a command, each with its default and its reason.
"""

PREPARE_HELP = """\
Turn raw text into shards of token ids, with a tokenizer trained on it or your own.

spanbert prepare --source 'text:/data/*.txt' --tokenizer sentencepiece --out /data/shards
"""

PLAN_HELP = """\
Compile the train step of a config for a slice of TPU chips, on any Linux machine without one, and
print what it needs: memory, time and where it goes, model FLOP utilisation, chip-hours to the last
step. All flags of spanbert pretrain may stand beside those of the plan. pip install -e '.[plan]'

spanbert plan configs/pretrain.py:spanbert_base --topology v5e:4x8 --price-per-chip-hour 1.2
"""

PRETRAIN_HELP = """\
Pretrain a model by a config, a function in a Python file: spanbert pretrain FILE.py[:FUNCTION].
Run again with the same --workdir, it goes on where it stopped.

spanbert pretrain configs/pretrain.py:spanbert_base --data.shards /data/shards --workdir /runs/a
"""

FINETUNE_HELP = """\
Teach a pretrained model a task by a config: spanbert finetune FILE.py[:FUNCTION]. The checkpoint
that is best on dev is kept. Run again with the same --workdir, it goes on where it stopped.
--grid paper tries the paper's learning rates and batch sizes, --seeds 5 each of them five times.

spanbert finetune configs/squad.py:squad2 --init-from /runs/a --task.train train.json \\
    --task.dev dev.json --workdir /runs/squad2
"""

INSPECT_HELP = """\
Say what a folder of shards holds; with --mask, measure what a masking scheme hides in it, in rows
as training is fed them. --out writes a page with lines of text whose masked spans are coloured.

spanbert inspect shards /data/shards --mask geometric_span --out masks.html
"""

FILL_HELP = """\
Fill in the [MASK] tokens of sentences: candidates of the masked language model, of the
span-boundary objective, and of both combined.

spanbert predict fill --checkpoint /runs/a "The capital of France is [MASK] [MASK] ."
"""

EVALUATE_HELP = """\
Score a fine-tuned model on a file of its task. Predictions in the benchmark's official formats and
scores.json are written into evaluations/ in the folder of the run, or to --out. What was tuned on
dev, such as the threshold for no answer, is applied as the checkpoint keeps it. Of a file without
answers there are predictions alone.

spanbert evaluate /runs/squad2 --task.dev test.json

spanbert evaluate /runs/rte --task.dev test.tsv --submission

spanbert evaluate /runs/squad2 --task.dev dev.json --predictions predictions.json
"""

PREDICT_HELP = """\
usage: spanbert predict VERB --checkpoint RUN ...

  answer    answer questions, each from a context of any length
  classify  classify texts, or pairs of texts
  relation  find the relation between two entities of a sentence
  tag       find the entities of sentences
  fill      fill in [MASK] tokens with a pretrained model

Each takes one example behind the flags, or JSON lines from --file or standard input, and gives JSON
lines for them. `spanbert predict VERB --help` shows its flags, such as --checkpoint.
"""

ANSWER_HELP = """\
Answer questions, each from a context of any length: the answer, where it begins and ends in the
context (in characters), its probability, and the next best ones.

spanbert predict answer --checkpoint /runs/squad2 "Where was Ada born?" --context-file ada.txt

echo '{"question": "Where was Ada born?", "context": "Ada was born in London."}' |
    spanbert predict answer --checkpoint /runs/squad2
"""

CLASSIFY_HELP = """\
Classify texts, or pairs of texts.

spanbert predict classify --checkpoint /runs/sst2 "A masterpiece."

spanbert predict classify --checkpoint /runs/sst2 --file texts.jsonl > labels.jsonl
"""

RELATION_HELP = """\
Find the relation between two entities of a sentence.

spanbert predict relation --checkpoint /runs/tacred \\
    '{"text": "Ada was born in London.", "subject": [0, 3], "object": [16, 22],
      "subject_type": "PERSON", "object_type": "CITY"}'
"""

TAG_HELP = """\
Find the entities of sentences: what kind, and where in the text (in characters).

spanbert predict tag --checkpoint /runs/ner "Ada was born in London."
"""

IMPORT_HELP = """\
Turn released weights of BERT, SpanBERT or RoBERTa (of Hugging Face, fairseq or TensorFlow) into a
checkpoint: a folder in the layout of a run.

spanbert import /models/spanbert-base-cased --out /runs/imported
"""

EXPORT_HELP = """\
Write a checkpoint as a folder that Hugging Face Transformers loads, and check what was written.

spanbert export /runs/a --out /models/a
"""
