"""Matrix products: of integers exactly, transposed on demand, and by an equation with an ellipsis."""

import pytest
import torch
from rows import row, t

from whet.onnx_reader.operators.matrices import product
from whet.onnx_reader.values import NotRead

torch.manual_seed(0)
A, B, C = torch.randn(2, 3), torch.randn(3, 4), torch.randn(4)


def test_integers_are_multiplied_exactly() -> None:
    big = t([[1 << 25, 1]], dtype=torch.int32)
    assert product(big, big.T).dtype == torch.int32
    assert product(t([[3000, 1]], dtype=torch.int32), t([[7000], [1]], dtype=torch.int32)).item() == 21_000_001


def test_gemm_is_alpha_a_b_plus_beta_c() -> None:
    found = row("Gemm", A.T, B.T, C, transA=1, transB=1, alpha=0.5, beta=2.0)
    torch.testing.assert_close(found, 0.5 * A @ B + 2 * C)
    torch.testing.assert_close(row("MatMul", A, B, C), A @ B + C)


def test_an_ellipsis_stands_for_the_dimensions_in_front() -> None:
    x, y = torch.randn(5, 2, 3), torch.randn(5, 3, 4)
    torch.testing.assert_close(row("Einsum", x, y, equation="...ij, ...jk -> ...ik"), x @ y)
    torch.testing.assert_close(row("Einsum", A, B, equation="ij,jk"), A @ B)


def test_a_fused_product_turns_its_last_dimensions() -> None:
    found = row("com.microsoft.FusedMatMul", A, B.T, transB=1, alpha=3.0)
    torch.testing.assert_close(found, 3 * A @ B)
    with pytest.raises(NotRead, match="a transposed batch"):
        row("com.microsoft.FusedMatMul", A, B, transBatchA=1)


def test_the_determinant_of_a_product_is_the_product_of_determinants() -> None:
    x, y = torch.randn(3, 3).double(), torch.randn(3, 3).double()
    torch.testing.assert_close(row("Det", x @ y), row("Det", x) * row("Det", y))
