"""Runs beside each other, example by example: ``scratchlab compare``.

``runs`` finds the runs that are named and makes rows of them (a row has a run for each seed and
fold); ``outputs`` reads what they said to each example, and refuses what was changed or asked of
other data; ``blocks`` says which runs are set beside each other; ``significance`` has the tests
over examples, ``repeats`` those over seeds and folds; ``differences`` sets every row against the
first; ``costs`` tells what rows took; ``words`` and ``tables`` show it. Nothing here knows a model.
"""
