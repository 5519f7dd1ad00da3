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
# the same of one image, its response in float32 and its slice in float64
LIKELIHOOD_FLOAT32 = 1e-6
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
# gridding in float32 against its definition in float64, relative to the largest value
GRIDDING = 1e-4
# the derivative of one number of a slice against a NUFFT: aliases weigh by their distance
SLICE_SLOPE = 2e-2
# a position's aliases in the gridding kernel's transform, rms within 0.29 of the period
ALIASES = 6e-4
# polynomials whose coefficients have twelve digits
TWELVE_DIGITS = {"rtol": 0.0, "atol": 1e-11}
# and the least-squares solution they were taken from
LEAST_SQUARES = {"rtol": 0.0, "atol": 1e-6}

# one formula of the CTF against another, at phases of some 100 radian
CTF_FLOAT64 = {"rtol": 0.0, "atol": 1e-11}
# transforms of some hundred pixels, multiplied in another order
ROUND_OFF_SPECTRA = {"rtol": 1e-9, "atol": 1e-9}
# phases reduced in double, sine and products in float32, relative to the largest
RESPONSE_KERNEL = 1e-6
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

# the image-space solver
# loss over images against the quadratic form: its four-tap kernel, and the band's last alias
TWO_SOLVERS = 1e-4
# the same where Gaussians are so narrow (0.5 pixels) that images and maps alias differently
TWO_SOLVERS_NARROW = 5e-4
# gradients of the same, relative to their norm
TWO_SOLVERS_GRADIENT = 2e-3
# images formed twice in float32, as a part of their amplitude
SAME_IMAGES = 1e-4
# residuals and CTFs in float32 against float64, relative to the largest
RESIDUAL_KERNEL = 1e-5

# FSC and postprocessing beside other programs
# FSC of the same maps in another program, which prints six decimals
FSC_PEER = 1e-3
# FSC of maps with random phases against that with other random phases, mean of ten shells
FSC_RANDOM_PHASES = 0.05
# B-factor from the same FSC, relative: six decimals of each curve
B_FACTOR_PEER = 1e-3
# and from an FSC with other random phases, relative
B_FACTOR_RANDOM_PHASES = 0.1
# sharpened maps in float32, relative to their standard deviation
SHARPENED_PEER = 1e-4
# Gaussians sharpened by their covariances against the filter on a fine grid, relative to the peak
SHARPENED_GAUSSIANS = 1e-3

# Triton's kernels, cut off at 5 standard deviations, against the definition in float64
TRITON_KERNEL = 1e-4

# Splatting: Gaussians cut off at 5.1 standard deviations, float32, against float64. The gradients by
# the precision weigh the cut-off by its distance squared, under a white image as it is worst.
SPLAT_FORWARD = 1e-4
SPLAT_BACKWARD = 1e-4
# pixels of one image that are each other's mirror, relative to the largest
EVEN_FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}
# two ways to one image by float64 transforms
ROUND_FLOAT64 = 1e-9

# local resolution of noise that crosses the signal at a known frequency: medians over a region,
# in which the first drop of a noisy curve comes early
LOCAL_RESOLUTION = 0.1
# FSC of a cone: float32 transforms and directions, a voxel on the cone's surface may differ
CONE_FSC = 2e-3
# what a window sees of a lone Gaussian: sums over voxels, a displacement not infinitely small
SEEN_MOVING = {"rtol": 0.02, "atol": 0.0}
# predicted against true rms error of 300 overlapping Gaussians, from one draw of noise
PREDICTED_ERROR = 0.2

# the disc of a ball in a picture of 120 pixels, blurred by a third of a voxel
DISC_AREA = {"rel": 0.02}
# decimals of a .bild file, Angstrom
BILD = {"rtol": 1e-3, "atol": 2e-3}
# corners of triangles between voxels, linear where the map is a Gaussian
SURFACE = {"rtol": 0.02}
COVARIANCE_FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}

# angles, shifts in Angstrom and defocus of some 1e4 Angstrom through float32 pickles
THROUGH_FLOAT32 = {"rtol": 1e-6, "atol": 2e-6}
# one float32 transform against another, relative to the largest value
FFT = 1e-6
# mean squared residual per coefficient at the end of a fit, in noise variances
MISFIT = 0.03
# FSC that batches of 16 may fall behind single images
BATCH_FSC = 0.06
# FSC that random positions which were led to their places may fall behind those in the density
MARCHED_FSC = 0.01

# FSC with the truth estimated from noisy maps of 48 voxels: some thousand coefficients a shell
CALIBRATED = 0.05

# Fourier cropping against a projection on larger pixels: tails beyond Nyquist
DOWNSAMPLED = 2e-3
# the same of a whole run on 500 particles of 32 pixels, and of the full map, upwards
PREDICTED_CROSS = 0.06
PREDICTED_FULL = 0.06

# one set of particles in the words of several programs
# numbers through text with all their digits; units converted and converted back
TEXT = {"rtol": 1e-12, "atol": 1e-9}
# a voxel map of the same images, relative: rotations and defocus through float32, and sums in
# another order
SAME_MAP = 1e-5
# the same with images in half precision
MAP_FLOAT16 = 5e-4

# voxel maps against relion_reconstruct, images without noise: FSC to two thirds of Nyquist
FSC_RELION = 0.999
# and grey scale: the least penalty of our solution damps the outer shells
SCALE_RELION = 0.05

# optics through the nine digits of a simulated table and float32, relative
TEXT_OPTIONS = 1e-5
# one minus the correlation of an image with that of `relion_project`, which interpolates linearly
IMAGES_OF_RELION = 1e-4
# and the ratio of their grey scales
GREY_SCALE_OF_RELION = 3e-3
# FSC of `relion_reconstruct` with the truth, with imperfections taken back against without them
FSC_OF_RELION = 0.01
# FSC with truth that the baseline of noisy images may fall behind
BEHIND_RELION = 0.003

# maps of mixed pixel sizes, images without noise
FSC_MIXED = 0.99

# symmetry
# matrices that another program prints with five digits
FIVE_DIGITS = 6e-6
# correlation of a map with its mean over equivalent positions, linearly interpolated by RELION
SYMMETRISED_PEER = 0.995
# a mixture and its copies, turned in float64 and looked at by the same kernels
EQUIVALENT_FLOAT64 = 1e-12
# sums over equivalent poses in another order, in float32 on the padded Fourier grid, to the largest
EQUIVALENT_STATISTICS = 5e-6
# likelihood of a symmetric map under symmetrised statistics, relative: the four-tap kernel's errors
SYMMETRIC_ENERGY = 3e-4
# a map of Gaussians and its mirror image by a half turn, float32, relative to the largest value
SYMMETRIC_MAP = 1e-5

# images brought back to what the detector recorded, rms in their deviation: by signs, exactly to
# rounding; by division, all but what lies near a CTF's zeros
RECORDED = {"phase-flipped": 1e-5, "premultiplied": 0.05}
# the backprojection of stored images, rms in its deviation
RECORDED_STATISTICS = 1e-5
# and their energy, which lacks what lies near the zeros of their CTF
RECORDED_ENERGY = 0.05
# images that RELION changed, times their CTF, relative
RECORDED_OF_RELION = 1e-5
# of a whole run on 400 noisy particles, to 10 Angstrom
FSC_MIXED_RUN = 0.9
# FSC that a fit may lose by images of larger pixels beside its own
COARSE_BEHIND = 0.1

# tilt images of isotropic Gaussians, sampled at 1.3 deviations a pixel and stored as float32, against
# their own sums of waves, in deviations of the images
TILT_IMAGES = 1e-3

# numbers of a star file with six decimals, angles in degrees and shifts in Angstrom
SIX_DECIMALS = {"rtol": 1e-9, "atol": 1e-6}
# sums of the same numbers in another order
ROUND_OFF = {"rtol": 1e-12, "atol": 0.0}
# likelihoods of images by float32 slices against squared residuals, nats
HELD_OUT_GAIN = {"rtol": 1e-4, "atol": 1e-2}

# poses
# the likelihood of an image and its derivatives by float32 kernels against float64 autograd of the
# definition, relative to the largest of all images
LIKELIHOOD_KERNEL = 3e-5
# its derivative against central differences of the kernel itself
LIKELIHOOD_DIFFERENCES = 2e-3
# Gauss and Newton's matrix against differences of the gradient, whose slices have aliases of their own
CURVATURE = 2e-2
# rotations composed of increments in float64
COMPOSED = {"rtol": 0.0, "atol": 1e-12}
# poses of noise-free images found again, at 3.5 Angstrom: degrees and Angstrom
POSES_FOUND = 0.05
SHIFTS_FOUND = 0.02
# the same search in another frame: float32 slices through other cells, degrees and Angstrom
POSES_IN_FRAME = 0.02
# widths of 500 poses' errors estimated from their images, relative
ESTIMATED_ERRORS = 0.2
