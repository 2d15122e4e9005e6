"""Exercise positions: embeddings with sinusoidal positions."""

import math

import torch


def sinusoidal(length, d_model):
    times = torch.arange(length).float().unsqueeze(1)
    # instead (positions from 1): times = torch.arange(1, length + 1).float().unsqueeze(1)
    steps = torch.arange(0, d_model, 2).float()
    # instead (exponent i / d): steps = torch.arange((d_model + 1) // 2).float()
    angles = times * torch.exp(-math.log(10000.0) * steps / d_model)
    table = torch.empty(length, d_model)
    table[:, 0::2] = torch.sin(angles)
    # instead (sines and cosines in halves): table[:, : angles.shape[1]] = torch.sin(angles)
    # instead (sine and cosine swapped): table[:, 0::2] = torch.cos(angles)
    table[:, 1::2] = torch.cos(angles[:, : d_model // 2])
    # instead (sine and cosine swapped): table[:, 1::2] = torch.sin(angles[:, : d_model // 2])
    # instead (sines and cosines in halves): table[:, angles.shape[1] :] = torch.cos(angles)[:, : d_model // 2]
    # instead (a frequency for each column): table[:, 1::2] = torch.cos(times / 10000.0 ** (torch.arange(1, d_model, 2) / d_model))
    return table


def embed(ids, table):
    positions = sinusoidal(ids.shape[1], table.shape[1]).to(table.dtype)
    # instead (positions of the texts): positions = sinusoidal(9, table.shape[1]).to(table.dtype)[: len(ids), None]
    return table[ids] * math.sqrt(table.shape[1]) + positions
    # instead (missing √d_model): return table[ids] + positions
    # instead (positions scaled too): return (table[ids] + positions) * math.sqrt(table.shape[1])
