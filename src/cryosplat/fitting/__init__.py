"""Fitting mixtures: what is minimised (`DataTerm`), how (`Schedule`), and the one loop (`descend`)."""

from ._descend import DataTerm, Fit, Stream, descend
from ._journal import NOWHERE, Journal, Stopped, Store
from ._marching import even, images_of_a_march, march, march_images
from ._parameters import Encoding, Learner, inverse_softplus
from ._schedule import Schedule
from ._start import density, effective_voxels, paper_start, start_at_random, start_in_density
from ._statistics import StatisticsTerm, fit
from ._watchers import BestSoFar, History, Moment, Resumable, Watcher, counted
from .images import Epoch, ImageData, ImageFit, ImageTerm, Order, fit_images

__all__ = [
    "NOWHERE",
    "BestSoFar",
    "DataTerm",
    "Encoding",
    "Epoch",
    "Fit",
    "History",
    "ImageData",
    "ImageFit",
    "ImageTerm",
    "Journal",
    "Learner",
    "Moment",
    "Order",
    "Resumable",
    "Schedule",
    "StatisticsTerm",
    "Stopped",
    "Store",
    "Stream",
    "Watcher",
    "counted",
    "density",
    "descend",
    "effective_voxels",
    "even",
    "fit",
    "fit_images",
    "images_of_a_march",
    "inverse_softplus",
    "march",
    "march_images",
    "paper_start",
    "start_at_random",
    "start_in_density",
]
