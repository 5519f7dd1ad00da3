"""Statistics from part to whole, and a map

Particles with known poses enter the likelihood of a map through their *statistics*, two arrays that add
up. This tutorial reads particles, accumulates two parts of them, adds, saves and loads the sums, fits
Gaussians and writes a map: a reconstruction without its controls, a run folder or a console, in 25
lines.
"""

import torch

import cryosplat as cs
from cryosplat.fitting import density, start_in_density
from cryosplat.simulation import phantom

# Particles of a made-up protein, so that this runs anywhere. Take your own star file instead.

generator, made = torch.Generator().manual_seed(0), cs.SimulationSettings(600, snr=0.2)
star = cs.simulate_particles(phantom(), cs.Grid(48, 3.2), made, "particles", generator)

# One pass over the images gives the statistics of as many sets as you like. Here the sets are two
# half-sets, drawn at random.

particles = cs.read_particles(star)
grid = cs.Grid(particles.box_size, particles.pixel_size)
noise = cs.estimate_noise(particles.batches())
sets = torch.randint(2, (len(particles),), generator=generator)
halves = cs.accumulate(particles.batches(), sets, 2, grid, noise)

# Statistics are values: they add, are saved whole or not at all, and come back as they were.

(halves[0] + halves[1]).save("all.safetensors")
whole = cs.Statistics.load("all.safetensors")


# A fit needs a quadratic form and a start. It never sees an image.


def fitted(statistics: cs.Statistics, seed: int) -> torch.Tensor:
    form = cs.QuadraticForm(statistics, grid.box_size)
    start = start_in_density(form, density(form), 1000, 0.9, torch.Generator().manual_seed(seed))
    return cs.voxelize(cs.fit(form, start, cs.Schedule()).mixture, grid)


# The FSC of the half-maps, which never met, and the map of all particles.

fsc = cs.fourier_shell_correlation(fitted(halves[0], seed=1), fitted(halves[1], seed=2))
print("FSC of the half-maps at half of Nyquist:", round(float(fsc[12]), 3))
cs.write_map("map.mrc", fitted(whole, seed=3), grid.pixel_size)
