"""`python -m spanbert_jax.planning.worker BUNDLES`: compile one step and leave.

In: a request as JSON on standard input, {"config": ..., "topology": "v5e:4x4"}. Out: the answer as
JSON, the last line of standard output.
"""

import json
import sys
from pathlib import Path

from spanbert_jax.config import PretrainConfig
from spanbert_jax.config.json import from_tree
from spanbert_jax.config.topologies import parse_topology
from spanbert_jax.planning.compile_step import compile_step
from spanbert_jax.planning.figures import to_tree


def main() -> None:
    request = json.load(sys.stdin)
    config = from_tree(request["config"])
    assert isinstance(config, PretrainConfig)
    topology = parse_topology(request["topology"])
    answer = compile_step(config, topology, bundles=Path(sys.argv[1]))
    print(json.dumps(to_tree(answer)))


if __name__ == "__main__":
    main()
