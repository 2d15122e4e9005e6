"""Exercise lora: low-rank adaptation of a linear layer."""

import math

import torch


def start(outputs, inputs, rank):
    a = torch.empty(rank, inputs).normal_(std=1 / math.sqrt(inputs))
    # instead (A is zero too): a = torch.zeros(rank, inputs)
    # instead (deviation 1): a = torch.empty(rank, inputs).normal_()
    b = torch.zeros(outputs, rank)
    # instead (B is not zero): b = torch.empty(outputs, rank).normal_(std=1 / math.sqrt(rank))
    return a, b


def change(x, a, b, alpha):
    return (x @ a.T) @ b.T * (alpha / a.shape[0])
    # instead (no scaling): return (x @ a.T) @ b.T
    # instead (alpha alone): return (x @ a.T) @ b.T * alpha
    # instead (root of the rank): return (x @ a.T) @ b.T * (alpha / math.sqrt(a.shape[0]))


def merged(weight, a, b, alpha):
    return weight + b @ a * (alpha / b.shape[1])
    # instead (merged without scaling): return weight + b @ a
    # instead (alpha alone): return weight + b @ a * alpha
    # instead (subtracted): return weight - b @ a * (alpha / b.shape[1])
