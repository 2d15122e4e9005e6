"""Collections of documents that are searched.

``reading`` takes them from whatever they lie in, ``judged`` has the queries that judge the search,
``passages`` cuts them, ``nearest`` ranks rows of numbers and ``index`` keeps the rows of passages.
How a text becomes such a row is the business of the room ``representations``.
"""
