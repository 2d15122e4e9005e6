"""What is measured of a trained model: one evaluator a file.

``outputs/`` what a model said, made once for all who look at it
``text/`` scores of text; ``rows/`` of tables and images; ``inside/`` looks inside a model;
``cost/`` time and size. A new evaluator is a registered class in the room that it fits, with
``evaluate(context) -> list[Measurement]`` (``contract``): see docs/add-a-part.md.
"""
