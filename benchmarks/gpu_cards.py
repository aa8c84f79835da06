"""Cards that need not be there: what XLA must know of one to compile for it, and what its maker says it can do."""

import importlib.util
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from raptor_jax.population import sharding

PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
"""JAX's compilers for NVIDIA GPUs, one for each version of CUDA: of the extras `cuda12` and `cuda13`."""


class Card(NamedTuple):
    """One model; published numbers, without sparsity."""

    kind: str
    """How its driver names it, and so `jax.Device.device_kind`."""
    capability: str
    """Compute capability, as XLA's description has it."""
    cores: int
    """Streaming multiprocessors."""
    fpus_per_core: int
    threads_per_core: int
    shared_kib: int
    """Of a core; a block may have one KiB less."""
    l2_mib: int
    clock_ghz: float
    memory: int
    """Bytes, as the driver tells."""
    bandwidth: float
    """Bytes/s."""
    flops: dict[str, float]
    """FLOP/s of matrix products, by `sac.matmul_precision`; other arithmetic runs at the float32 rate."""

    @property
    def target_config(self) -> str:
        """Returns the description from which XLA compiles (a GpuTargetConfigProto as text)."""
        return f"""
            gpu_device_info {{
              threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: {self.threads_per_core}
              shared_memory_per_block: 49152 shared_memory_per_core: {self.shared_kib * 1024}
              shared_memory_per_block_optin: {(self.shared_kib - 1) * 1024}
              core_count: {self.cores} fpus_per_core: {self.fpus_per_core} clock_rate_ghz: {self.clock_ghz}
              block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
              memory_bandwidth: {self.bandwidth:.0f} l2_cache_size: {self.l2_mib * 2**20}
              device_memory_size: {self.memory} cuda_compute_capability {{ {self.capability} }}
              registers_per_core_limit: 65536 registers_per_block_limit: 65536
            }}
            platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 7 }}
            runtime_version {{ major: 12 minor: 8 patch: 0 }} device_description_str: "{self.kind}" """


_HOPPER = Card(
    kind="NVIDIA H100 80GB HBM3",
    capability="major: 9",
    cores=132,
    fpus_per_core=128,
    threads_per_core=2048,
    shared_kib=228,
    l2_mib=50,
    clock_ghz=1.98,
    memory=84_929_347_584,
    bandwidth=3.352e12,
    flops={"float32": 66.9e12, "tensorfloat32": 494.7e12, "bfloat16": 989.4e12},
)

CARDS = {
    "h100": _HOPPER,
    "h200": _HOPPER._replace(kind="NVIDIA H200", memory=150_754_820_096, bandwidth=4.8e12),
    "a100": Card(
        kind="NVIDIA A100-SXM4-80GB",
        capability="major: 8",
        cores=108,
        fpus_per_core=64,
        threads_per_core=2048,
        shared_kib=164,
        l2_mib=40,
        clock_ghz=1.41,
        memory=85_100_068_864,
        bandwidth=2.039e12,
        flops={"float32": 19.5e12, "tensorfloat32": 156e12, "bfloat16": 312e12},
    ),
    "rtx4090": Card(
        kind="NVIDIA GeForce RTX 4090",
        capability="major: 8 minor: 9",
        cores=128,
        fpus_per_core=128,
        threads_per_core=1536,
        shared_kib=100,
        l2_mib=72,
        clock_ghz=2.52,
        memory=25_757_220_864,
        bandwidth=1.008e12,
        flops={"float32": 82.6e12, "tensorfloat32": 82.6e12, "bfloat16": 165.2e12},
    ),
}
"""H100 and H200 are SXM modules; the A100 is an SXM module with 80 GB."""


def plugin() -> str | None:
    """Returns which of JAX's plugins for CUDA is installed; None if there is none."""
    return next((name for name in PLUGINS if importlib.util.find_spec(name)), None)


def present(card: Card) -> bool:
    """Returns whether the first device of this machine is such a card."""
    return jax.devices()[0].device_kind == card.kind


def mesh(card: Card) -> Mesh:
    """Returns one such card: this machine's if it has one, else one that can only be compiled for."""
    if present(card):
        return Mesh(np.asarray(jax.devices()[:1]), (sharding.TEACHERS,))
    described = topologies.get_topology_desc(platform="cuda", topology="1x1x1", target_config=card.target_config)
    return Mesh(np.asarray(described.devices), (sharding.TEACHERS,))
