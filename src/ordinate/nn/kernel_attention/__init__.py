r"""Kernel attention with a Toeplitz bias: a quotient of two Toeplitz products.

With feature maps :math:`\phi(q) \cdot \phi(k) \approx e^{q \cdot k}` and a bias :math:`b_{j-i}` of the offset alone, softmax attention :math:`e^{q_i \cdot k_j + b_{j-i}}` becomes

.. math:: y_i = \frac{\phi(q_i)^\top \sum_j c_{j-i}\, \phi(k_j) v_j^\top}{\phi(q_i)^\top \sum_j c_{j-i}\, \phi(k_j)}, \qquad c = e^b.

Both sums are products of the Toeplitz matrix :math:`c_{j-i}` with the m(d + 1) channels of :math:`\phi(k_j) \otimes (v_j, 1)`. Three methods give the same number:

- ``naive`` forms the L x L matrix :math:`A_{ij} = c_{j-i}\, \phi(q_i) \cdot \phi(k_j)`;
- ``chunked`` does so for some rows at a time, and in the causal case for the columns that they see: O(L^2) time, O(L) memory;
- ``fft`` takes the Toeplitz products by the FFT, a few features at a time: O(L log L) time, O(L) memory.

The first two scale every row by its own largest weight, so that no bias is too wide for them. The FFT rounds relative to the largest term of all, and a row whose sum is far below it (the first causal rows, when the bias
is wide) would be noise; `fft` bounds the error of every row from its denominator, which costs one channel in d + 1, and takes in float64, and then row by row, what float32 cannot do.

Source: Luo et al., Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding (NeurIPS 2021), section 3. The chunks, the error bound and its remedies are ours.
"""

from ordinate.nn.kernel_attention.core import METHODS, attend, choose_method, kernel_attention
from ordinate.nn.kernel_attention.fourier import unreliable_rows

__all__ = ["METHODS", "attend", "choose_method", "kernel_attention", "unreliable_rows"]
