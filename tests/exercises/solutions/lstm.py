"""Exercise lstm: one step of a long short-term memory."""

import torch


def lstm_step(x, h, c, w_ih, w_hh, b_ih, b_hh):
    n = h.shape[1]
    gates = torch.addmm(b_ih + b_hh, torch.cat([x, h], 1), torch.cat([w_ih, w_hh], 1).t())
    # instead (one bias left out): gates = x @ w_ih.t() + h @ w_hh.t() + b_ih
    i = torch.sigmoid(gates[:, :n])
    # instead (input and forget gate swapped): i = torch.sigmoid(gates[:, n : 2 * n])
    f = torch.sigmoid(gates[:, n : 2 * n])
    # instead (input and forget gate swapped): f = torch.sigmoid(gates[:, :n])
    g = torch.tanh(gates[:, 2 * n : 3 * n])
    # instead (gates in another order): g = torch.tanh(gates[:, 3 * n :])
    # instead (sigmoid of the candidate): g = torch.sigmoid(gates[:, 2 * n : 3 * n])
    o = torch.sigmoid(gates[:, 3 * n :])
    # instead (gates in another order): o = torch.sigmoid(gates[:, 2 * n : 3 * n])
    new = f * c + i * g
    return o * torch.tanh(new), new
    # instead (no tanh of the memory): return o * new, new
    # instead (output from the old memory): return o * torch.tanh(c), new
