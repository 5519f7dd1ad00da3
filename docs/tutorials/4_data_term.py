"""A data term of one's own

`descend` minimises whatever turns a mixture into a number that torch can differentiate. Here that is a
loss which forgives single bad pixels, on images with bright specks, beside plain least squares.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import huber_loss, mse_loss

import cryosplat as cs
from cryosplat.simulation import phantom

# Particles of a made-up protein, all in one batch. A tenth of the pixels of every fifth image become
# specks, twenty standard deviations of the noise bright.

grid, generator = cs.Grid(32, 4.8), torch.Generator().manual_seed(0)
star = cs.simulate_particles(
    phantom(), grid, cs.SimulationSettings(200, snr=0.3), "specks", generator
)
batch = next(cs.read_particles(star).batches(size=200))
specks = torch.rand(40, 32, 32, generator=generator) < 0.1
batch.images[::5] += 20.0 * specks


# The data term: `grid` says in which pixels lengths are learned, the call gives the value.


class Residuals:
    """The mean of a function of the residuals between images and what the mixture predicts."""

    def __init__(self, loss: Callable) -> None:
        self.grid, self.loss = grid, loss

    def __call__(self, mixture: cs.GaussianMixture) -> torch.Tensor:
        images = cs.form_images(
            cs.MixtureProjector(mixture), batch.poses, batch.optics, batch.box_size
        )
        return self.loss(images, batch.images)


# Both terms descend from the same start. No solver was written, and none was changed.

truth = torch.from_numpy(cs.read_map("specks/truth.mrc").data.copy())
k = 400
start = cs.GaussianMixture(
    25.0 * torch.randn(k, 3, generator=generator), torch.full((k, 3), 7.0),
    torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(k, 1), truth.sum().expand(k) / k,
)  # fmt: skip
reached = {}
for name, loss in {"least squares": mse_loss, "forgiving": huber_loss}.items():
    mixture = cs.descend(Residuals(loss), start, cs.Schedule(steps=80)).mixture
    reached[name] = float(cs.fourier_shell_correlation(cs.voxelize(mixture, grid), truth)[8])
    print(f"{name}: FSC with the truth at half of Nyquist {reached[name]:.3f}")
