"""Runs beside each other, example by example: ``scratchlab compare``.

``runs`` finds the runs that are named and makes rows of them (a row has one run for each seed);
``outputs`` reads what they said to each example, and refuses what was changed or asked of other
data; ``significance`` has the tests; ``differences`` sets every row against the first; ``costs``
tells what the rows took; ``tables`` shows it all. Nothing here knows a model.
"""
