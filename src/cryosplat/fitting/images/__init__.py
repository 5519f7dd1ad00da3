"""Descent on particle images: what is known of them, the term made of them, and its fit."""

from ._fit import Epoch, ImageFit, fit_images
from .data import ImageData, Order
from .term import ImageTerm

__all__ = ["Epoch", "ImageData", "ImageFit", "ImageTerm", "Order", "fit_images"]
