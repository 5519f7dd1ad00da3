"""Parts of `run.json` that say what was found in the particles and measured of the map."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from .parts import Number, Part, Rows


class Contrast(Part):
    """Whether protein is "bright" or "dark" in the images."""

    used: str
    preferred: str | None = None
    """What the data say."""
    standard_deviations: Number = None
    """By how many the data say so; negative for dark."""


class Solvent(Part):
    """The solvent that images show the molecule in: ``H(s) = 1 - k exp(-B s^2 / 4)``.

    ``map.mrc`` shows H times the molecule, ``gaussians.ply`` is the molecule itself.
    """

    contrast: Number = None
    """k; 0 in vacuum."""
    contrast_error: Number = None
    b_factor: Number = None
    """B in square Angstrom."""
    b_factor_error: Number = None
    half_sets: Rows = []
    """k and B that each half-set found."""
    gain: Number = None
    """Share by which unseen particles are more likely with it; null where nothing was looked for."""


class Worth(Part):
    """What the particles are worth: weights and scales, by their own half-set's map."""

    used: bool
    """Whether the map was made with them."""
    kept: int
    """Particles of a weight of at least a half."""
    shares: list[Number] = []
    """Of images that hold the particle, in each half-set."""
    spreads: list[Number] = []
    """Standard deviation of the scales in each half-set, their errors taken off."""
    odds: Rows = []
    """Histogram: lower end in nats, width, particles; the ends hold all beyond them."""
    scales: Rows = []
    """Histogram of the kept particles' scales: lower end, width, particles."""
    examples: list[tuple[str, int, Number, Number]] = []
    """Name, row, weight and scale of the images in examples.mrcs: the best, as many at random, and as
    many of the worst, the worst last."""


class Residual(Part):
    """What was added to the Gaussians: the part of the voxel residual that the other half confirms."""

    carried: Number = None
    """Share of the map's power, mean of the shells that are resolved."""
    most: Number = None
    """Largest share in one of these shells."""
    most_angstrom: Number = None
    """Where that is."""
    weights: list[Number] = []
    """Share of a half-set's residual that is signal, per shell, 0 to 1."""
    carried_by_shell: list[Number] = []


class Epoch(Part):
    """One pass of the image solver over the images."""

    number: int
    misfit: list[Number]
    gaussians: int


class NoiseSubstitution(Part):
    """The control that fits images whose phases were replaced by noise."""

    skipped: bool = False
    from_shell: int | None = None
    from_angstrom: Number = None
    invented: Number = None
    """Mean half-map FSC of the shells without signal."""
    most_invented: Number = None


class Agreement(Part):
    """Of a sample of particles with the map of the other half-set."""

    particles: int
    gain: Number
    """1 where grey scale and CTFs are right."""
    gain_deviation: Number
    gain_with_dealt_rotations: Number
    strength: Number
    against: Number
    """Share of particles that contradict the map."""


class Independence(Part):
    """Of the half-sets."""

    shared_images: Number
    noise_correlation: Number
    noise_deviation: Number = None
    """Standard deviation of that correlation by chance."""


class Rival(Part):
    """A smaller point group beside the one given."""

    box_size: int
    nats: Number
    error: Number
    deviations: Number


class SymmetryControl(Part):
    """What particles say of the symmetry that was given."""

    particles: int
    strongest_rival: str
    deviations: Number
    rivals: dict[str, Rival]


class Guinier(Part):
    """The Guinier plot and what was done to the sharpened map."""

    b_factor: Number = None
    fit_range_angstrom: list[Number] = []
    frequencies_squared: list[Number] = []
    log_amplitude: list[Number] = []
    log_amplitude_weighted: list[Number] = []
    line: list[Number] | None = None
    """Slope and intercept."""
    correlation: Number = None
    b_factor_applied: Number = None
    low_pass_angstrom: Number = None


class LocalResolution(Part):
    """Quantiles over the mask in Angstrom."""

    median: Number = None
    q05: Number = None
    q95: Number = None
    window_angstrom: Number = None
    threshold: Number = None
    coarsest: Number = None
    unresolved: Number = None
    """Share of the mask."""
    voxels: LocalResolution | None = None
    """The same of the voxel baseline."""


class Uncertainty(Part):
    """Of the Gaussians, from the two halves."""

    matched: Number = None
    median_position: Number = None
    """Angstrom."""
    median_amplitude: Number = None
    """Relative."""


class Directional(Part):
    """Resolution by direction; one value per axis or shell."""

    cfar: Number = None
    scf: Number = None
    axes: Rows = []
    resolutions: list[Number] = []
    areas: list[Number] = []
    """Below the FSC in each cone up to its first drop below 0.143, in shells."""
    worst_axis: list[Number] = []
    frequencies: list[Number] = []
    cone_fsc_mean: list[Number] = []
    cone_fsc_min: list[Number] = []
    cone_fsc_max: list[Number] = []


class Views(Part):
    """How many views fall into each cell of the sphere."""

    axes: Rows = []
    bounds: Rows = []
    counts: list[int] = []


class Model(Part):
    """Agreement of the map with an atomic model."""

    file: str | None = None
    resolution_0_5: Number = Field(None, alias="resolution_0.5")
    """Angstrom where the FSC of map and model falls below 0.5."""
    correlation: Number = None
    frame: str | None = None
    shift: list[Number] = []
    residues: list[tuple[str, str, str, Number]] = []
    """Chain, number, name and correlation of each residue."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)
