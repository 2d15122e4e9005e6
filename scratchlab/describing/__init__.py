"""What a data set looks like, for a person: tables, pictures, what looks wrong.

``described`` is asked: ``describe(dataset)``, ``pictures(dataset)`` and, of a class,
``check(cls, config, context)``. Each dispatches on the kind of the data set; ``pairs``, ``text``
and ``rows`` hold what is said of the kinds, ``checked`` and ``copies`` what is asked of all.

A new kind registers its own: ``describe.register(MyKind, describe_mine)``; without that its spec is
shown and everything that the contract tells of it is checked.
"""
