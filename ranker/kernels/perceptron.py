"""A perceptron with dropout, a few rows at a time through all of its layers."""

from typing import Any

import torch
from torch import Tensor

from ranker.kernels.library import compiled


class PerceptronLayers(torch.autograd.Function):
    """x (B, D) -> (B, out), by layers of max(0, W x + b) with dropout.

    `draws` are random numbers of 64 bits, four units of a layer in each; of 2**16, `hidden` hide a unit. None: nothing
    is hidden. After it come all layers' weights (out, in), and all biases (out,).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, draws: Tensor | None, hidden: int, *parameters: Tensor) -> Tensor:
        x, layers, rows = x.contiguous(), len(parameters) // 2, len(x)
        weights, biases = torch.cat([one.flatten() for one in parameters[:layers]]), torch.cat(parameters[layers:])
        widths = torch.tensor([x.shape[1], *(len(one) for one in parameters[layers:])])
        answers = x.new_empty(rows * len(biases))
        ctx.sizes = (rows, layers, 0 if draws is None else hidden)
        compiled().call("perceptron", [x, weights, biases, draws, widths, answers], ctx.sizes)
        ctx.save_for_backward(x, weights, biases, widths, answers)
        out = len(parameters[-1])
        return answers[answers.numel() - rows * out :].view(rows, out)

    @staticmethod
    def backward(ctx: Any, by_answer: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, biases, widths, answers = ctx.saved_tensors
        by_x, by_weights, by_biases = torch.empty_like(x), torch.empty_like(weights), torch.zeros_like(biases)
        given = [x, weights, widths, answers, by_answer.contiguous()]
        compiled().call("perceptron_backward", [*given, by_x, by_weights, by_biases], ctx.sizes)
        outs = widths[1:].tolist()
        sizes = [(out, size) for size, out in zip(widths.tolist(), outs, strict=False)]
        of_weights = by_weights.split([out * size for out, size in sizes])
        matrices = [one.view(*size) for one, size in zip(of_weights, sizes, strict=True)]
        return (by_x, None, None, *matrices, *by_biases.split(outs))
