"""Word vectors from running text: skip-gram, CBOW, FastText (one algorithm), and GloVe.

``text.py`` is what they read, ``vocabulary.py`` the words that they keep, ``negative_sampling.py``
the algorithm in plain NumPy and ``compiled.py`` the same as machine code; ``base.py`` makes an
estimator of it. Another model of word vectors is a subclass of ``WordEstimator``.
"""
