"""Is the map true? Masks, Fourier shell correlation and what follows from it."""
