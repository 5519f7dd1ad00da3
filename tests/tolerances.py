"""The only place for tolerances: each name says what is compared, each comment why so loosely."""

# float32 stored in files against float64 computed here
FILE_FLOAT32 = {"rtol": 1e-6, "atol": 1e-6}
# rotations written as float32 by another program, composed from float32 angles
ROTATION_FLOAT32 = {"rtol": 0.0, "atol": 2e-6}
# shifts in Angstrom that another program kept as float32 fractions of the box
SHIFT_FLOAT32 = {"rtol": 1e-6, "atol": 2e-5}
# degrees written with two decimals, or float32 radian, of an angle up to 180 degrees (radian)
ANGLE_FLOAT32 = {"rtol": 0.0, "atol": 1e-6}
# the same rotation through our own float64 formulas
ROTATION_FLOAT64 = {"rtol": 0.0, "atol": 1e-12}
# angles and shifts written back with six decimals
WRITTEN_SIX_DECIMALS = {"rtol": 0.0, "atol": 1e-6}
# statistics in an MRC header are float32
HEADER_STATISTICS = {"rtol": 1e-5, "atol": 1e-6}

# FSC against an independent program in float64; its regulariser is 1e-30
FSC_AGREEMENT = 1e-6
# FSC of shells of some hundred voxels and more: statistical error, a few 1 / sqrt(voxels)
FSC_STATISTICAL = 0.05
# a rendered map against the direct Fourier sum, relative to the rms over the same frequencies
RENDERED_SPECTRUM = 1e-4
# geometry of ideal secondary structure against textbook values
HELIX_RISE = 0.03  # Angstrom
HELIX_TURN = 0.5  # degree
# sample variances over some 1e5 pixels
SAMPLE_VARIANCE = 0.03

# sums of float32 arrays in another order, relative to the largest value
SUM_FLOAT32 = 2e-6
# sums of float64 numbers in another order
SUM_FLOAT64 = 1e-9
# negative log-likelihood on the float32 padded grid against the float64 sum over all residuals
QUADRATIC_FORM = 1e-4
# its terms alone: the four-tap kernel is off by up to 1.7e-4 in a box of 24, 7e-5 in one of 48
QUADRATIC_TERM = 3e-4
# b and K against a NUFFT of 13 digits: b relative to its rms, K to its largest value
GRIDDED_BACKPROJECTION = 3e-3
GRIDDED_KERNEL = 1e-3
# the same form on fewer voxels: float32 transforms of other sizes
CONFINED_FORM = 1e-5
# and of a Gaussian map, whose spectrum never quite ends
DOWNSAMPLED_FORM = 1e-4
# slices by the four-tap kernel against a NUFFT of 13 digits, relative to the norm
SLICE = 2e-3
# the same with a map's parts near the edge of the box or beyond its Nyquist frequency
PROJECTION = 3e-3
# two float32 sums of products, relative to the sum of their absolute values
ADJOINT = 1e-5

# one formula of the CTF against another, at phases of some 100 radian
CTF_FLOAT64 = {"rtol": 0.0, "atol": 1e-11}
# phases reduced in double, the sine a float32 polynomial
CTF_KERNEL = {"rtol": 0.0, "atol": 2e-6}
# RELION's constants of the wavelength against CODATA's
WAVELENGTH = 1e-5

# Gaussians cut off at 4.8 standard deviations, float32, against the definition in float64
KERNEL_FORWARD = 1e-4
KERNEL_BACKWARD = 5e-4  # the derivative by the precision weighs the cut-off by its distance squared
# what cancels in float64
ZERO_FLOAT64 = 1e-12
# sum over voxels of Gaussians about a voxel wide: aliasing, and the cut-off
MASS = 1e-4

# shell variances of some hundred noise images outside the particle, smoothed over three shells
NOISE_SPECTRUM = {"rtol": 0.12, "atol": 0.0}
# residual of 60 preconditioned conjugate-gradient steps in float32
CONJUGATE_GRADIENTS = 1e-3
# softplus and its inverse in float32
PARAMETERS_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}

# Statistics of one data set in the words of several programs, relative: what angles and shifts lose
# when they are written as float32 or with six decimals.
SAME_STATISTICS = 1e-4
