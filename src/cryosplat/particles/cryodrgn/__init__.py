"""Stacks with cryoDRGN's pickled poses and CTFs."""
