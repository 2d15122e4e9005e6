"""The composition root, one file a verb.

``train``, ``evaluate``, ``predict`` and ``inspect`` are the ways of the verbs. They stand on
``session`` (a run folder from opening to how it ended), ``measure`` and ``export``, these on
``parts`` (all that a configuration names is built there and nowhere else) and that on ``weights``
(where a model's weights come from, and the methods on top). A new verb is a file here and a thin
one in ``commands``.
"""
