"""Splatting with gradients, and a loop of one's own

`project` draws a mixture as it is seen from any direction and `voxelize` as a map. Both can be
differentiated by every number of the mixture, `project` also by the rotations, so that any loss and
any optimiser of torch can be put around them.
"""

import torch

import cryosplat as cs
from cryosplat.poses import random_poses
from cryosplat.simulation import phantom
from cryosplat.splatting import project

grid, generator = cs.Grid(32, 4.8), torch.Generator().manual_seed(0)
truth = phantom(b_factor=1500.0)
truth = cs.GaussianMixture(*(t.float() for t in (
    truth.means, truth.scales, truth.quaternions, truth.amplitudes
)))  # fmt: skip

# Two hundred views of a known mixture stand for data. A pixel holds the mass on it, whatever the view.

poses = random_poses(200, generator)
images = project(truth, poses, grid)
torch.testing.assert_close(
    images.sum((1, 2)), truth.amplitudes.sum().expand(200), rtol=1e-3, atol=0.0
)

# A model of 300 Gaussians in a ball. What must be positive is learned as a logarithm.

means = (25.0 * torch.randn(300, 3, generator=generator)).requires_grad_()
log_scales = torch.full((300, 3), 6.0).log().requires_grad_()
quaternions = torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(300, 1).requires_grad_()
log_amplitudes = (truth.amplitudes.sum() / 300).log().expand(300).clone().requires_grad_()


def model():
    return cs.GaussianMixture(means, log_scales.exp(), quaternions, log_amplitudes.exp())


# The loop is the usual one. No step is hidden: draw some views, compare, go downhill.

adam = torch.optim.Adam([
    {"params": [means], "lr": 0.5}, {"params": [log_scales, quaternions, log_amplitudes], "lr": 0.03},
])  # fmt: skip
for _ in range(150):
    some = torch.randperm(200, generator=generator)[:20]
    loss = (project(model(), poses.select(some), grid) - images[some]).square().mean()
    adam.zero_grad()
    loss.backward()
    adam.step()

# A map was never fitted, and yet there is one.

fsc = cs.fourier_shell_correlation(cs.voxelize(model(), grid).detach(), cs.voxelize(truth, grid))
print("FSC with the truth at half of Nyquist:", round(float(fsc[8]), 3))
