"""The fused kernel of attention and its derivative, against torch's derivative in float64.

It runs on a GPU, or in Triton's interpreter on a processor, which has to be chosen before Triton is
loaded: `test_fused_attention` runs this file in a process of its own. The interpreter has no
products of bfloat16; on a GPU they are tested here.
"""

import os
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
pytestmark = pytest.mark.skipif(
    not find_spec("triton") or not (INTERPRETED or torch.cuda.is_available()),
    reason="there is no GPU here, and no interpreter of Triton was chosen",
)
DTYPES = (torch.float32, torch.float16) + (() if INTERPRETED else (torch.bfloat16,))
WITHIN = {
    torch.float32: 2e-3 if torch.backends.cuda.matmul.allow_tf32 else 2e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 1e-2,
}
SHAPES = [(1, 1, 32), (5, 3, 64), (64, 64, 64), (63, 65, 80), (65, 129, 32), (197, 197, 64)]


def packed(tokens: int, width: int, seed: int, dtype=torch.float32, heads=2):
    """Return q, k and v as a layer leaves them: views of one tensor, not contiguous."""
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(1, tokens, 3, heads, width, generator=generator)
    return list(made.to(DEVICE, dtype).permute(2, 0, 3, 1, 4))


def expected(qkv, along, scale):
    def plain(q, k, v):
        return (scale * q @ k.mT).softmax(-1) @ v

    exact = tuple(x.double() for x in qkv)
    moving = tuple(
        torch.zeros_like(x) if d is None else d.double() for x, d in zip(exact, along, strict=True)
    )
    return torch.func.jvp(plain, exact, moving)


def check(qkv, moving, scale=0.2):
    from tangent.jvp.triton_attention import attention, fits

    assert fits(*qkv)
    found, moved = attention(*qkv, moving, scale)
    bound = WITHIN[found.dtype]
    for one, along in zip(moved, moving, strict=True):
        value, tangent = expected(qkv, along, scale)
        assert (found.double() - value).norm() <= bound * value.norm()
        assert (one.double() - tangent).norm() <= bound * tangent.norm()
        assert one.dtype == found.dtype == qkv[0].dtype


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_blocks_and_parts_of_blocks_give_value_and_derivative(dtype, shape):
    queries, keys, width = shape
    if INTERPRETED and queries > 100 and dtype != torch.float32:
        pytest.skip("one type is enough where a block takes a tenth of a second")
    q, dq = (packed(queries, width, seed, dtype)[0] for seed in (0, 1))
    (_, k, v), (_, dk, dv) = (packed(keys, width, seed, dtype) for seed in (2, 3))
    check((q, k, v), [(dq, dk, dv)])


@pytest.mark.parametrize(
    "moves", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 0)], ids=str
)
def test_what_does_not_move_counts_as_zero(moves):
    along = [d if moves[i] else None for i, d in enumerate(packed(66, 32, 1))]
    if any(moves):
        check(packed(66, 32, 0), [along])
    else:
        from tangent.jvp.triton_attention import attention

        assert not attention(*packed(66, 32, 0), [along], 0.2)[1][0].any()


def test_many_directions_share_one_value():
    check(packed(20, 32, 0), [packed(20, 32, seed) for seed in (1, 2, 3)])


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_a_level_of_the_scores_tangent_costs_no_digits(dtype):
    """Moving all keys by one vector moves all scores of a query alike, and so no weight."""
    q, k, v = packed(80, 32, 0, dtype)
    dq, dk, dv = packed(80, 32, 1, dtype)
    level = 64 * packed(1, 32, 2, dtype)[1]
    from tangent.jvp.triton_attention import attention

    _, (moved, shifted) = attention(q, k, v, [(dq, dk, dv), (dq, dk + level, dv)], 0.2)
    exact = expected((q, k, v), (dq, dk + level, dv), 0.2)[1]
    spread = expected((q, k, v), (dq, dk, dv), 0.2)[1]
    assert (shifted.double() - exact).norm() <= 4 * WITHIN[dtype] * exact.norm()
    assert (moved.double() - spread).norm() <= WITHIN[dtype] * spread.norm()


def test_scores_of_every_size_overflow_nowhere():
    q, k, v = packed(70, 32, 0)
    check((30 * q, 30 * k, v), [(q, k, v)])


def test_heads_may_share_a_key_and_a_value():
    q, dq = (packed(9, 32, seed)[0] for seed in (0, 1))
    (_, k, v), (_, dk, dv) = (packed(7, 32, seed, heads=1) for seed in (2, 3))
    check((q, k, v), [(dq, dk, dv)])


def test_rows_whose_numbers_lie_apart_and_tangents_of_another_type_are_taken():
    q, k, v = (x.mT.contiguous().mT for x in packed(9, 32, 0))
    check((q, k, v), [[d.double() for d in packed(9, 32, 1)]])


def test_the_value_lies_token_by_token_as_the_next_layer_reads_it():
    from tangent.jvp.triton_attention import attention

    found, (moved,) = attention(*packed(9, 32, 0), [packed(9, 32, 1)], 0.2)
    for one in (found, moved):
        rows = one.transpose(1, 2).reshape(1, 9, 64)
        assert rows.data_ptr() == one.data_ptr()


def test_shapes_that_are_not_taken_are_told_before():
    from tangent.jvp.triton_attention import fits

    q, k, v = packed(9, 32, 0)
    assert fits(q, k, v)
    assert not fits(q[0], k[0], v[0])
    assert not fits(q, k, v[..., :16])
    assert not fits(*(x.expand(1, 2, 9, 32).repeat(1, 1, 1, 8) for x in (q, k, v)))
    assert not fits(q.half(), k, v)
    assert not fits(q[:, :, :0], k, v)
