"""Which rows of a batch lie on which devices. In: rows of this process. Out: global arrays."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Int64

from spanbert_jax.training.mesh import batch_sharding


def spread(leaf: Any, sharding: jax.sharding.Sharding) -> jax.Array:
    """An array that every process has whole, on the devices of all of them."""
    if jax.process_count() == 1 or getattr(leaf, "sharding", None) == sharding:
        return jax.device_put(leaf, sharding)
    # device_put would gather it from all processes first, to see that it is the same.
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])


@dataclass(frozen=True)
class BatchPlacement:
    """Batches split over the data and fsdp axes of a mesh, whichever processes its devices are of.

    Processes whose devices lie beside each other on the tensor axis hold the same rows.
    """

    mesh: Mesh

    def share(self, batch_size: int) -> Int64[np.ndarray, " rows"]:
        """Numbers of the rows that lie on devices of this process, ascending.

        8 rows, data 4 over two processes of two devices -> [0, 1, 2, 3] and [4, 5, 6, 7]
        """
        indices = batch_sharding(self.mesh).addressable_devices_indices_map((batch_size,))
        rows = [np.arange(batch_size)[index] for index in indices.values()]
        return np.unique(np.concatenate(rows))

    def on_devices(self, batches: Iterable[Any], *, batch_size: int) -> Iterator[Any]:
        """Global arrays of `batch_size` rows out of this process' rows."""
        sharding = batch_sharding(self.mesh)
        for batch in batches:
            yield jax.tree.map(
                lambda rows: jax.make_array_from_process_local_data(
                    sharding, rows, (batch_size, *rows.shape[1:])
                ),
                batch,
            )

    def whole_on_devices(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Global arrays out of batches that every process has all rows of."""
        for batch in batches:
            batch_size = len(jax.tree.leaves(batch)[0])
            share = self.share(batch_size)
            if len(share) < batch_size:
                batch = jax.tree.map(lambda rows, share=share: rows[share], batch)
            yield from self.on_devices([batch], batch_size=batch_size)
