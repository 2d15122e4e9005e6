"""Machine code for products of quantized matrices, written in Python and compiled by numba.

``nf4.py`` are the loops over 4-bit codes, of the registers and threads of
:mod:`scratchlab.models.compiled`. Nothing here is needed: without numba or on another processor the
formulas in torch are taken. Another kernel is a file beside ``nf4.py``, tested against the formula
that it stands for.
"""
