"""Optical flow of two frames with Lorentzian penalties, of many pairs at once: Black and Anandan's robust formulation
(CVIU 1996) as given by Sun, Roth and Black ("Secrets of optical flow estimation and their principles", CVPR 2010,
"Classic-L").

The flow (u, v) minimises the sum over pixels of

    rho(apex(x + u, y + v) - onset(x, y); 1.5) + 0.06 * sum of rho(each first difference of u and of v; 0.03)

where rho(x; sigma) = log(1 + x^2 / (2 sigma^2)). It is found from coarse to fine, by steps that are each the solution
of a linear system, and in three stages that lead from quadratic penalties to these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nas_mer.data.flow.median import median
from nas_mer.workers import one_thread

_DATA_SIGMA = 1.5  # Grey levels of the texture, 0 to 255.
_SMOOTH_SIGMA = 0.03  # Pixels of flow from one pixel to the next.
_SMOOTHNESS = 0.06
_STEPS = 10  # Linear systems a level.
_ITERATIONS = 20  # Of conjugate gradients a system; the step that follows makes good what these leave.
_DERIVATIVE = (1 / 12, -8 / 12, 0, 8 / 12, -1 / 12)
_COARSEST = 16  # Pixels of a pyramid's shorter side.
# Pairs are calculated so many pixels at a time: on a processor what fits its cache, else what fits the memory.
_PIXELS = {"cpu": 2**16}
_PIXELS_ELSEWHERE = 2**22


@torch.no_grad()
@one_thread()  # More would wait for each other longer than they save in images so small; use a process a core.
def lorentzian(onsets: Tensor, apexes: Tensor) -> Tensor:
    """Estimate the flows from onset frames to apex frames.

    Args:
        onsets, apexes: `(N, H, W)` grey frames, uint8 or float32 in any range, of at least 32 pixels a side; on any
            device. Each pair's grey levels are stretched to one range.

    Returns:
        `(N, 2, H, W)` float32 on the same device: u and v in pixels, u to the right and v down. The flow of a pair does
        not depend on the others.
    """
    count, height, width = onsets.shape
    flows = torch.empty(count, 2, height, width, device=onsets.device)
    pixels = _PIXELS.get(onsets.device.type, _PIXELS_ELSEWHERE)
    at_once = max(1, pixels // (height * width))
    for start in range(0, count, at_once):
        chunk = slice(start, start + at_once)
        flows[chunk] = _flows(torch.stack([onsets[chunk], apexes[chunk]], 1).float())
    return flows


def _flows(frames: Tensor) -> Tensor:
    """Return the flows `(N, 2, H, W)` of pairs of frames, of the same shape."""
    frames = texture(frames)
    halvings = int(math.log2(min(frames.shape[-2:]) / _COARSEST))
    coarse, fine = _pyramid(frames, 0.5, 1 + halvings), _pyramid(frames, 0.8, 2)
    flow = torch.zeros_like(coarse[-1])
    for share, pyramid in ((0.0, coarse), (0.5, fine), (1.0, fine)):
        for level in reversed(pyramid):
            flow = _refined(_resized(flow, level.shape[-2:]), level, share)
    return flow


def texture(frames: Tensor) -> Tensor:
    """Return frames without most of their structure, which holds shadows and shading: 95 % of it (Wedel et al. 2009).

    Args:
        frames: `(N, 2, H, W)` pairs.

    Returns:
        The same shape; the values of each pair go from 0 to 255.
    """
    frames = _stretched(frames)
    return 255 * _stretched(frames - 0.95 * structure(frames, 1 / 16))


def structure(images: Tensor, theta: float) -> Tensor:
    """Denoise images by total variation (Rudin, Osher and Fatemi 1992).

    Args:
        images: `(..., H, W)`, of which the total variation plus the squared difference to them, over twice `theta`,
            is made small by 100 steps of Chambolle's dual projection (2004).
        theta: how much smoother they get, in the images' unit times pixels.
    """
    flat, width = images.flatten(-2), images.shape[-1]
    rate = 1 / (4 * theta)
    dual = {offset: torch.zeros_like(flat)[..., offset:] for offset in (1, width)}
    result = flat.clone()
    for _ in range(100):
        slopes = {offset: _difference(result, offset, width) for offset in dual}
        growth = torch.zeros_like(flat)
        for offset, slope in slopes.items():
            growth[..., :-offset].addcmul_(slope, slope)
        growth.sqrt_().mul_(rate).add_(1)
        result.copy_(flat)
        for offset, slope in slopes.items():
            dual[offset].add_(slope, alpha=rate).div_(growth[..., :-offset])
            result[..., :-offset].add_(dual[offset], alpha=theta)
            result[..., offset:].sub_(dual[offset], alpha=theta)
    return result.view_as(images)


def _stretched(frames: Tensor) -> Tensor:
    """Stretch the values of each pair `(N, 2, H, W)` to 0..1; a pair of one value becomes 0."""
    least, most = frames.amin((1, 2, 3), keepdim=True), frames.amax((1, 2, 3), keepdim=True)
    return (frames - least) / (most - least).clamp_min(1e-6)


def _pyramid(frames: Tensor, factor: float, levels: int) -> list[Tensor]:
    """Return frames `(N, 2, H, W)` at decreasing sizes, each `factor` times the one before."""
    bell = [math.exp(-(place**2) * factor) for place in (-2, -1, 0, 1, 2)]  # Its variance is 1 / (2 * factor).
    kernel = [value / sum(bell) for value in bell]
    pyramid = [frames]
    for _ in range(levels - 1):
        size = [round(factor * side) for side in frames.shape[-2:]]
        smooth = _filtered(_filtered(frames, kernel, -1), kernel, -2)
        frames = F.interpolate(smooth, size, mode="bilinear", align_corners=False)
        pyramid.append(frames)
    return pyramid


def _filtered(images: Tensor, kernel: Sequence[float], dim: int) -> Tensor:
    """Correlate images `(N, C, H, W)` with a kernel along their rows (-1) or columns (-2); borders are mirrors.

    Plain sums: a GPU's convolutions round their operands to ten bits unless told otherwise.
    """
    reach = len(kernel) // 2
    padded = F.pad(images, (reach, reach, 0, 0) if dim == -1 else (0, 0, reach, reach), mode="reflect")
    result = torch.zeros_like(images)
    for start, factor in enumerate(kernel):
        result.add_(padded.narrow(dim, start, images.shape[dim]), alpha=factor)
    return result


def spline(images: Tensor) -> Tensor:
    """Return the coefficients of the cubic splines through images `(N, C, H, W)`, for `sampled`."""
    # The inverse of the filter (1, 4, 1) / 6; the least that is left out is 1e-5 of it.
    kernel = [math.sqrt(3) * (math.sqrt(3) - 2) ** abs(place) for place in range(-8, 9)]
    return _filtered(_filtered(images, kernel, -1), kernel, -2)


def sampled(coefficients: Tensor, places: Tensor) -> Tensor:
    """Evaluate cubic splines.

    A spline's four weights a row are all positive, so that two linear interpolations, each in between the right two
    coefficients, give their sum (Sigg and Hadwiger, GPU Gems 2, 2005).

    Args:
        coefficients: `(N, C, H, W)`, see `spline`.
        places: `(N, H, W, 2)`, x and y in pixels.

    Returns:
        `(N, C, H, W)`.
    """
    height, width = coefficients.shape[-2:]
    start = places.floor()
    rest = places - start
    share = ((2 * rest - 3) * rest - 3).mul_(rest).add_(5).div_(6)  # Of the two coefficients on the left.
    left = start - (1 - rest) ** 3 / (6 * share)
    right = start + 1 + rest**3 / (6 * (1 - share))
    unit = 2 / places.new_tensor([width - 1, height - 1])
    (left_x, left_y), (right_x, right_y) = (side.mul_(unit).sub_(1).unbind(-1) for side in (left, right))
    share_x, share_y = share.unsqueeze(1).unbind(-1)

    def at(x: Tensor, y: Tensor) -> Tensor:
        grid = torch.stack([x, y], -1)
        return F.grid_sample(coefficients, grid, mode="bilinear", padding_mode="reflection", align_corners=True)

    above, below = (torch.lerp(at(right_x, y), at(left_x, y), share_x) for y in (left_y, right_y))
    return torch.lerp(below, above, share_y)


def _resized(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a flow `(N, 2, H, W)`, and scale its vectors with it."""
    height, width = flow.shape[-2:]
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    return F.interpolate(flow, list(size), mode="bilinear", align_corners=False) * scale


def _refined(flow: Tensor, frames: Tensor, share: float) -> Tensor:
    """Improve a flow `(N, 2, H, W)` between pairs of frames of the same shape by some steps.

    `share` is that of the Lorentzian in the penalties.
    """
    slopes = (_filtered(frames, _DERIVATIVE, dim) for dim in (-1, -2))
    onset, apex = torch.stack([frames, *slopes], 2).unbind(1)
    apex = spline(apex)
    down, right = (torch.arange(side, device=flow.device) for side in frames.shape[-2:])
    places = torch.stack(torch.meshgrid(right, down, indexing="xy"), -1)
    last = places[-1, -1]
    for _ in range(_STEPS):
        goals = places + flow.permute(0, 2, 3, 1)
        inside = ((goals >= 0) & (goals <= last)).all(-1).unsqueeze(1)
        seen = sampled(apex, goals)
        system = linear_system(flow, (seen[:, 1:] + onset[:, 1:]) / 2, seen[:, :1] - onset[:, :1], inside, share)
        step = system.solve(_ITERATIONS).view_as(flow).clamp_(-1, 1)
        flow = median(flow + step)
    return flow


@dataclass(frozen=True)
class System:
    """Symmetric linear systems for the steps (du, dv) of all pixels, which are numbered along the rows.

    Attributes:
        diagonal: `(N, 2, H * W)`, positive.
        cross: `(N, H * W)`, between du and dv of a pixel.
        links: for the right and the lower neighbour, how many pixels further it is, and `(N, 2, H * W - that)`: the
            negative of the entries between a pixel and that neighbour.
        right: `(N, 2, H * W)`, the right-hand side.
    """

    diagonal: Tensor
    cross: Tensor
    links: Sequence[tuple[int, Tensor]]
    right: Tensor

    def solve(self, iterations: int) -> Tensor:
        """Return the solutions `(N, 2, H * W)` after some iterations of conjugate gradients from 0.

        The unknowns are scaled first so that the diagonal is 1.
        """
        scale = self.diagonal.rsqrt()
        cross = self.cross * scale[:, 0] * scale[:, 1]
        links = [(offset, weight * scale[..., :-offset] * scale[..., offset:]) for offset, weight in self.links]
        residual = self.right * scale
        direction = residual.clone()
        solution = torch.zeros_like(residual)
        power = _product(residual, residual)
        for _ in range(iterations):
            image = direction.clone()
            image[:, 0].addcmul_(cross, direction[:, 1])
            image[:, 1].addcmul_(cross, direction[:, 0])
            for offset, weight in links:
                image[..., :-offset].addcmul_(weight, direction[..., offset:], value=-1)
                image[..., offset:].addcmul_(weight, direction[..., :-offset], value=-1)
            length = power / _product(direction, image)
            solution.addcmul_(direction, length)
            residual.addcmul_(image, length, value=-1)
            previous, power = power, _product(residual, residual)
            direction.mul_(power / previous).add_(residual)
        return solution.mul_(scale)


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Return scalar products `(N, 1, 1)` of `(N, 2, P)`, none of them 0, so that they can divide."""
    product: Tensor = torch.linalg.vecdot(one.flatten(1), other.flatten(1))
    return product.clamp_min(torch.finfo(product.dtype).tiny).view(-1, 1, 1)


def linear_system(flow: Tensor, gradient: Tensor, change: Tensor, inside: Tensor, share: float) -> System:
    """Return the systems whose solutions are the next steps of flows.

    Around the flow the penalties are replaced by parabolas of the same slope, and the difference of the frames by its
    linearisation `change + gradient * step`.

    Args:
        flow: `(N, 2, H, W)`.
        gradient: `(N, 2, H, W)`, derivatives of the frames to the right and down.
        change: `(N, 1, H, W)`, the apex frame seen along the flow minus the onset frame.
        inside: `(N, 1, H, W)`, whether the flow ends inside the apex frame; elsewhere there is no data term.
        share: of the Lorentzian in the penalties; the rest is the parabola that it is like at 0.
    """
    width = flow.shape[-1]
    weight = _curvature(change * change, _DATA_SIGMA, share).mul_(inside)
    weighted = weight * gradient
    diagonal = (weighted * gradient).flatten(-2)
    right = weighted.mul(-change).flatten(-2)
    links = []
    for offset in (1, width):
        slope = _difference(flow.flatten(-2), offset, width)
        tension = _curvature(slope * slope, _SMOOTH_SIGMA, share).mul_(_SMOOTHNESS)
        if offset == 1:
            tension[..., width - 1 :: width] = 0
        diagonal[..., :-offset] += tension
        diagonal[..., offset:] += tension
        force = slope.mul_(tension)
        right[..., :-offset] += force
        right[..., offset:] -= force
        links.append((offset, tension))
    return System(diagonal, (weighted[:, 0] * gradient[:, 1]).flatten(-2), links, right)


def _curvature(squares: Tensor, sigma: float, share: float) -> Tensor:
    """Return rho'(x) / x of the mixed penalty, given x^2."""
    lorentzian = (2 * share) / (squares + 2 * sigma**2)
    return lorentzian.add_((1 - share) / sigma**2)


def _difference(flat: Tensor, offset: int, width: int) -> Tensor:
    """Return how much the value `offset` pixels further is greater, `(..., P - offset)`; 0 from a row to the next."""
    result = flat[..., offset:] - flat[..., :-offset]
    if offset == 1:
        result[..., width - 1 :: width] = 0
    return result
