"""The composition root, one file a verb.

``weights`` a model with its weights and methods; ``parts`` all that a configuration names;
``train``, ``evaluate``, ``predict`` the way of each verb.
"""
