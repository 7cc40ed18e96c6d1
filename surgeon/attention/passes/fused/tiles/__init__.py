"""Triton kernels: a program takes a tile of one image after the other, and reads each number of it once.

A map is (images, channels, positions) with any strides, so that both memory orders are one case. What is computed is in
`formulas`; sums and products are made in `WIDE`, float32 or float64. Arguments that are None leave out what they are
for. Triton reads these functions and compiles them; nothing here is annotated, since it would read that as well.
"""
