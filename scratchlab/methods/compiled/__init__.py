"""Machine code for products of quantized matrices, written in Python and compiled by numba.

``vectors.py`` are registers of 16 numbers and what can be done with them, ``nf4.py`` the loops over
4-bit codes, ``threads.py`` runs such a function on torch's own threads. Nothing here is needed:
without numba or on another processor the formulas in torch are taken. Another kernel is a file
beside ``nf4.py``, tested against the formula that it stands for.
"""
