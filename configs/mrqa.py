"""The five sets of MRQA 2019 that the paper reports, each trained on its own.

The paper compares checkpoints on one half of each dev set and reports the other (sec. 5.1). Its
halves were never published: ours are a rule (spanbert_jax/tasks/question_answering/halves.py).
Fine-tuning reads the half `dev`; `spanbert evaluate ... --task.half test` scores the other.
"""

from spanbert_jax.config import FinetuneConfig, FineTuningConfig
from spanbert_jax.config.tasks import MrqaConfig


def newsqa() -> FinetuneConfig:
    """NewsQA: articles of CNN; the earliest detected answer is trained on.

    Paper: Joshi et al. 2019 (arXiv 1907.10529), sec. 5.1 and appendix B, table 2.
    Expected: SpanBERT-large 73.6 F1 on the paper's half of dev (the best of the grid);
        SpanBERT-base 70.4 (README of the released code).
    Hardware: not published.
    Command: spanbert finetune configs/mrqa.py:newsqa --init-from RUN_OR_FOLDER
        --task.train train/NewsQA.jsonl.gz --task.dev dev/NewsQA.jsonl.gz --workdir runs/newsqa
    """
    return FinetuneConfig(
        task=MrqaConfig(half="dev"), training=FineTuningConfig(num_epochs=4.0, batch_size=32)
    )


def triviaqa() -> FinetuneConfig:
    """TriviaQA: questions of trivia fans, and web pages that may answer them.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B, table 2.
    Expected: SpanBERT-large 83.6 F1 on the paper's half of dev; SpanBERT-base 79.2.
    Hardware: not published.
    Command: spanbert finetune configs/mrqa.py:triviaqa --init-from RUN_OR_FOLDER
        --task.train train/TriviaQA-web.jsonl.gz --task.dev dev/TriviaQA-web.jsonl.gz
        --workdir runs/triviaqa
    """
    return newsqa()


def searchqa() -> FinetuneConfig:
    """SearchQA: questions of Jeopardy!, and what a search engine found for them.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B, table 2.
    Expected: SpanBERT-large 84.8 F1 on the paper's half of dev; SpanBERT-base 82.9.
    Hardware: not published.
    Command: spanbert finetune configs/mrqa.py:searchqa --init-from RUN_OR_FOLDER
        --task.train train/SearchQA.jsonl.gz --task.dev dev/SearchQA.jsonl.gz
        --workdir runs/searchqa
    """
    return newsqa()


def hotpotqa() -> FinetuneConfig:
    """HotpotQA: questions that take two paragraphs of Wikipedia to answer.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B, table 2.
    Expected: SpanBERT-large 83.0 F1 on the paper's half of dev; SpanBERT-base 81.0.
    Hardware: not published.
    Command: spanbert finetune configs/mrqa.py:hotpotqa --init-from RUN_OR_FOLDER
        --task.train train/HotpotQA.jsonl.gz --task.dev dev/HotpotQA.jsonl.gz
        --workdir runs/hotpotqa
    """
    return newsqa()


def natural_questions() -> FinetuneConfig:
    """Natural Questions: what people asked a search engine, and a paragraph of Wikipedia.

    Paper: Joshi et al. 2019, sec. 5.1 and appendix B, table 2.
    Expected: SpanBERT-large 82.5 F1 on the paper's half of dev; SpanBERT-base 80.6.
    Hardware: not published.
    Command: spanbert finetune configs/mrqa.py:natural_questions --init-from RUN_OR_FOLDER
        --task.train train/NaturalQuestionsShort.jsonl.gz
        --task.dev dev/NaturalQuestionsShort.jsonl.gz --workdir runs/natural_questions
    """
    return newsqa()
