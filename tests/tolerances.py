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
