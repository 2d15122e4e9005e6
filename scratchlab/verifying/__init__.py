"""Proofs that a run does not depend on what it must not depend on.

``verify`` runs the checks of a :class:`~scratchlab.verifying.subject.Subject`: a trained run, or a
small one that is trained for it. A file holds a family of them: ``training`` (seed, stop, kill),
``gradients`` (accumulation, padding, packing), ``scoring`` (batches of evaluation), ``writing``
(texts alone and together, cache), ``storing`` and ``exporting`` (files, merged adapters),
``threads``, ``processes`` (which ``started`` starts). All of them ask the house's own functions;
nothing is trained or measured by a second loop.

A check is a function of the subject that gives a :class:`~scratchlab.verifying.findings.Finding`
for each thing that must be equal, or raises ``DoesNotApply`` with the reason. A new one is added to
``CHECKS`` in ``verify``.
"""
