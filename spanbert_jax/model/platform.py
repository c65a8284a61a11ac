"""Which kind of device a function is traced for. In: nothing. Out: its name."""

import jax


def platform() -> str:
    """cpu, gpu or tpu: of the mesh that is set, or else of JAX's default device.

    The chips of a mesh need not be at hand.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def device_kind() -> str:
    """As `platform`, but as `jax.Device.device_kind` names it: "TPU v6 lite"."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.devices()[0].device_kind if device is None else device.device_kind
