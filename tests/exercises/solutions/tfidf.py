"""Exercise tfidf: term frequency times inverse document frequency."""

import math

import numpy as np


def inverse_frequencies(documents):
    words = sorted(set().union(*documents))
    idf = []
    for word in words:
        df = sum(word in document for document in documents)
        # instead (occurrences in place of documents): df = sum(document.count(word) for document in documents)
        idf.append(math.log((1 + len(documents)) / (1 + df)) + 1)
        # instead (not smoothed): idf.append(math.log(len(documents) / df))
        # instead (1 not added): idf.append(math.log((1 + len(documents)) / (1 + df)))
        # instead (logarithm to base 10): idf.append(math.log10((1 + len(documents)) / (1 + df)) + 1)
        # instead (logarithm to base 2): idf.append(math.log2((1 + len(documents)) / (1 + df)) + 1)
    return words, np.array(idf)


def weights(documents, words, idf):
    rows = np.array([[document.count(word) for word in words] for document in documents]) * idf
    # instead (presence in place of counts): rows = np.array([[word in document for word in words] for document in documents]) * idf
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    # instead (rows not normalised): size = np.ones((len(rows), 1))
    # instead (rows add up to 1): size = rows.sum(axis=1, keepdims=True)
    # instead (columns in place of rows): size = np.linalg.norm(rows, axis=0, keepdims=True)
    size[size == 0] = 1
    return rows / size
