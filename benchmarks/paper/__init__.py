"""The studies of CryoSplat's paper, on particles whose truth is known."""
