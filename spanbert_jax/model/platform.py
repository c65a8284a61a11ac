"""Which kind of device a function is traced for. In: nothing. Out: cpu, gpu or tpu."""

import jax


def platform() -> str:
    """Of the mesh that is set, whose chips need not be at hand; or else of JAX's default device."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform
