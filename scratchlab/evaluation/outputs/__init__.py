"""What a model says to examples, made in one place: evaluators and ``predict`` ask here.

Each kind of data set names its outputs (``Dataset.outputs``), each of which is a file here with a
class ``@register("outputs", NAME)``: ``of_split`` for evaluators, made once for all of them, and
``of_lines`` for what a person gives. A new kind of answer is one such file.
"""
