"""What the dialects of particle tables share: columns, optics groups, tilt series."""
