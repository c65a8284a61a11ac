"""The machine code of a kernel, counted."""

import pytest

from spanbert_jax.planning.bundle_files import kernel_costs
from spanbert_jax.planning.bundles import KernelCost, kernel_cost

# Three bundles, a loop of 5 less 2 runs of a body of 4, with a loop of 8 inside it of 2 bundles,
# one of them with two products on one matrix unit and one on another; two bundles behind it.
KERNEL = """\
= control target key start
LB: loop body
= control target key end

     0   :  { %s1_s0 = smov 8  ;;  %s2_s0 = smov 64 }
   0x1   :  { %10 = dma.hbm_to_vmem [thread:$0]  /*hbm=*/%s9, /*size_in_granules=*/%s2_s0, %s8, %s7 }
   0x2   :  {}
   0x3 LB: > { %s5_s1 = sphi %s6_s1, %s7_s1 /* phi copy :: iteration index, stage = 2 */ }
   0x4   : > {}
   0x5 LB: > > { %s8_s2 = sadd.s32 1, %s8_s2  ;;  %11 = vmatmul.mubr.bf16.gmra.mxu0 %v1  ;;  %12 = vmatmul.mubr.bf16.gmra.mxu0 %v2  ;;  %13 = vmatmul.mubr.f32.gmra.mxu1 %v3 }
   0x6   : > > { %p1_p0 = scmp.ge.s32.totalorder %s8_s2, %s1_s0  /* loop exit test */ }
   0x7   : > { %14 = dma.vmem_to_hbm [thread:$0]  %s3, /*size_in_granules=*/16, %s4, %s5 }
   0x8   : > { %p2_p0 = scmp.ge.s32.totalorder %s5_s1, 5 /* loop exit test */ }
   0x9   :  { %15 = vsyncpa [#a], 1 }
   0xa   :  { %16 = vsyncpa [#b], 1 }
"""  # noqa: E501


def count(text: str) -> KernelCost:
    return kernel_cost(text.splitlines(), cycles_per_matmul=16)


def test_loops_count_as_often_as_they_run():
    assert count(KERNEL) == KernelCost(
        bundles=5 + 3 * (4 + 8 * 2),
        # Two of bfloat16 a turn on unit 0; one of float32, half as long, on unit 1.
        matrix_cycles=3 * 8 * 2 * 16,
        hbm_bytes=32 * (64 + 3 * 16),
        is_known=True,
    )
    assert count(KERNEL).cycles == 768


def test_products_of_the_left_matrix_register_take_half_of_a_matrix_unit():
    # As libtpu writes them in gradients of kernels. A loop of inputs^T gradient, 32,768 tokens, 768
    # and 3,072 features, has 1,536 of the one and 3,072 of the other kind in 96 turns: of 16 and of
    # 8 rows they are its FLOPs, 2 x 32,768 x 768 x 3,072, to the last one.
    rows = 96 * (1_536 * 16 + 3_072 * 8)
    assert rows * 2 * 128 * 128 == 2 * 32_768 * 768 * 3_072
    whole = "   0x1   :  { %1 = vmatmul.bf16.gmra.mxu0 %v1 }"
    half = "   0x1   :  { %1 = vmatmul.lmr.bf16.gmra.16.mxu0 %v1 }"
    assert (count(whole).matrix_cycles, count(half).matrix_cycles) == (16, 8)


@pytest.mark.parametrize(
    "known, unknown",
    [
        ("%s8_s2, %s1_s0  /* loop exit", "%s8_s2, %s77_s0  /* loop exit"),
        ("%s5_s1, 5 /* loop exit", "%s5_s1, %s77_s0 /* loop exit"),
    ],
)
def test_a_loop_whose_bound_is_no_constant_is_told_of(known, unknown):
    assert not count(KERNEL.replace(known, unknown)).is_known


def test_a_transfer_of_unknown_size_leaves_all_of_them_unknown():
    text = KERNEL.replace("size_in_granules=*/16", "size_in_granules=*/%s99_s0")
    assert count(text).hbm_bytes is None


def test_a_loop_that_counts_in_steps_or_down_ends_when_its_counter_is_there():
    fours = KERNEL.replace("sadd.s32 1, %s8_s2", "sadd.s32 4, %s8_s2")
    assert count(fours).bundles == 5 + 3 * (4 + 2 * 2)
    down = KERNEL.replace("sadd.s32 1, %s8_s2", "sadd.s32 4294967295, %s8_s2")
    assert count(down).bundles == 5 + 3 * (4 + 1 * 2)


def test_kernels_are_found_by_the_names_of_their_instructions(tmp_path):
    (tmp_path / "17-fusion.3-01-final_bundles.txt").write_text(KERNEL)
    for beside in ("17-TLP-02-final_bundles.txt", "17-<late-finalization>-01-final_bundles.txt",
                   "17-fusion.3-00-schedule-analysis_final_bundles.txt"):  # fmt: skip
        (tmp_path / beside).write_text(KERNEL)
    (tmp_path / "17-TLP-00-deduplication-map.txt").write_text("key: fusion.3\n  fusion.9\n")
    found = kernel_costs(tmp_path, cycles_per_matmul=16)
    assert found == {"fusion.3": count(KERNEL), "fusion.9": count(KERNEL)}
