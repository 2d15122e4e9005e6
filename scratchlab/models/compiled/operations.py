"""A list of operations on a few rows, as machine code reads it.

The list is an array of :class:`Operation`; the function that does it is given the address of a
:class:`Call`. What is read and written lies at addresses, of float32 where nothing else is said.
Shapes: B texts with K newest tokens each (beams; else one; all, where a text is read at once),
R = B K rows; D = d_model, H heads.
"""

from __future__ import annotations

import ctypes

Number = ctypes.c_int64  # addresses are numbers too; 0: there is none


class Call(ctypes.Structure):
    """What is new at each step."""

    _fields_ = [
        (name, Number)
        for name in (
            *("operations", "count", "rows", "beams"),
            *("slots", "places"),  # of the cache in use; where each row goes, int64 [R]
            *("seen", "seen_step"),  # which slots each row sees, so many bytes apart; 0: all
            *("cos", "sin"),  # of all positions [T, head_dim], or 0
            *("newest", "positions"),  # the token of each row and its position, int64 [R]
            *("best", "log_p", "chosen"),  # how many tokens are asked for; where they go [R, best]
            *("barred", "barred_count"),  # tokens that may not come, int64
            "only",  # the token that each row must take, or -1, int64 [R]
            *("scratch", "scratch_size"),  # of each thread, and its bytes
            *("number", "threads", "wait"),  # functions, see threads.Team; 0: there is one thread
        )
    ]


class Operation(ctypes.Structure):
    """One of the kinds below; each takes what it needs."""

    _fields_ = [
        (name, Number)
        for name in (
            *("kind", "x", "y"),  # rows that are read, rows that are written
            *("inputs", "outputs"),  # numbers in a row of them
            "bytes",  # of each of the numbers of an embedding
            *("weight", "bias", "scale"),  # [outputs, inputs], [outputs], [outputs]
            "sums",  # of the rows of int8 weights [outputs]
            *("activation", "added"),  # what is done to a product; whether y is increased by it
            *("heads", "room"),  # slots that keys and values have room for, or tokens of the memory
            *("keys", "values"),  # [B, H, room, head_dim]
            "seen",  # of a memory or of whole texts, bytes [B, room or K]; 0: all
            *("q_gain", "k_gain"),  # QK-norm [head_dim] or 0
            "epsilon",  # where the number stands: of a norm, or the factor of an embedding
        )
    ]


(OPERATIONS, COUNT, ROWS, BEAMS, SLOTS, PLACES, SEEN, SEEN_STEP, COS, SIN, NEWEST, POSITIONS,
 BEST, LOG_P, CHOSEN, BARRED, BARRED_COUNT, ONLY, SCRATCH, SCRATCH_SIZE, NUMBER, THREADS, WAIT) = (
    getattr(Call, name).offset for name, *_ in Call._fields_
)  # fmt: skip
(KIND, X, Y, INPUTS, OUTPUTS, BYTES_OF, WEIGHT, BIAS, SCALE, SUMS, ACTIVATION, ADDED, HEADS, ROOM,
 KEYS, VALUES, SEEN_OF, Q_GAIN, K_GAIN, EPSILON) = (
    getattr(Operation, name).offset for name, *_ in Operation._fields_
)  # fmt: skip
SIZE = ctypes.sizeof(Operation)
NORM, PRODUCT, OWN, CROSS, READY, WHOLE, EMBED, LIKELIEST = range(8)
ACTIVATIONS = {"relu": 1, "relu2": 2, "gelu": 3, "gelu_tanh": 4}
RELU, RELU2, GELU, GELU_TANH = ACTIVATIONS.values()
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}  # of a weight, by the kinds there are
LANES, PAIR, LINE = 16, 32, 64  # floats in a register, weights that are read at a time, and bytes
