"""Exercises: a person writes a part from its paper, has it checked, and trains with it.

An exercise is a class in one file of ``layers``, ``learning``, ``text`` or ``quantized``,
registered with ``@register("exercise", NAME, …)``: the file that a person starts from, an
independent reference, ordinary and awkward cases, wrong solutions that people write, hints, and
where in the program a solution can stand (:mod:`.contract`, :mod:`.looking`). ``checking`` runs a
person's file in a process of its own and compares; ``using`` puts it in the place of the built-in
part. A new exercise is a file here and its solutions in ``tests/exercises/solutions``.
"""
