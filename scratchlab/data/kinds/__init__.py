"""What a data set is: it tokenises, caches, plans and batches what a source gives.

``base`` holds what all kinds do: :class:`~scratchlab.data.kinds.base.Kind` finds the records, looks
a split up, plans an epoch once and batches what was planned; ``TokenText`` adds a tokenizer and
``TextPairs`` examples of two texts. The kinds: ``pairs``, ``running_text``, ``spans``,
``questions``, ``prompted``, ``text_classes``, ``rows`` and ``image_rows``.

A new kind gives ``plan_epoch`` and ``batch``, and what the contract asks for beside them; what it
looks like for a person stands in ``scratchlab.describing``. A new data set of a kind is a class in
``sets/`` with its options and ``locate`` (of tables and images: ``read``).
"""
