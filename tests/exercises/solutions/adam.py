"""Exercise adam: one step of Adam."""


def adam_step(parameter, gradient, mean, square, step, lr, beta1, beta2, eps):
    # the moments
    mean *= beta1
    # instead (betas swapped): mean *= beta2
    mean += (1 - beta1) * gradient
    # instead (betas swapped): mean += (1 - beta2) * gradient
    # instead (1 - β left out): mean += gradient
    square *= beta2
    # instead (betas swapped): square *= beta1
    square += (1 - beta2) * gradient**2
    # instead (betas swapped): square += (1 - beta1) * gradient**2
    # instead (1 - β left out): square += gradient**2
    # instead (gradient in place of its square): square += (1 - beta2) * gradient
    m = mean / (1 - beta1**step)
    # instead (betas swapped): m = mean / (1 - beta2**step)
    # instead (no bias correction): m = mean
    # instead (step counted from 0): m = mean / (1 - beta1 ** (step + 1))
    v = square / (1 - beta2**step)
    # instead (betas swapped): v = square / (1 - beta1**step)
    # instead (no bias correction): v = square
    # instead (only the mean corrected): v = square
    # instead (step counted from 0): v = square / (1 - beta2 ** (step + 1))
    parameter -= lr * m / (v**0.5 + eps)
    # instead (eps inside the root): parameter -= lr * m / (v + eps) ** 0.5
    # instead (missing root): parameter -= lr * m / (v + eps)
    # instead (tensors not changed): parameter = parameter - lr * m / (v**0.5 + eps)
