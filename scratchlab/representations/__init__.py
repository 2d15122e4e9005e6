"""What turns texts into numbers: counts of words, TF-IDF, BM25, and whatever else gives a matrix.

A representation is fitted on the texts of training and then makes a row of numbers of any text::

    tfidf = TfIdf(ngram_range=(1, 2), min_df=2)
    X = tfidf.fit_transform(texts)                    # [texts, features], sparse
    scores = tfidf.transform_queries(questions) @ tfidf.transform(documents).T

``representation=tfidf model=logistic dataset=mr`` feeds one to an estimator (:mod:`.represented`);
an index of documents uses the same classes. To add one: a class in a file here, registered as
``@register("representation", NAME)``, that derives from
:class:`~scratchlab.representations.contract.Representation` (or, if it weighs counts of terms, from
:class:`~scratchlab.representations.terms.Terms`), and ``configs/representation/NAME.yaml``. The
room stands above estimators and models, so that word vectors and pretrained encoders fit in.
"""
