"""Words of the page that a structural biologist need not know: explained on hover and at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from markupsafe import Markup, escape

TERMS = {
    "B-factor": "How fast the map's amplitudes fall with resolution, in Å². Sharpening with a negative "
    "B-factor restores them.",
    "cFAR": "Conical FSC area ratio: the smallest area under the FSC curves of all directions over the "
    "largest. 1: the same in all directions; below 0.5: anisotropic.",
    "cross-FSC": "FSC between the Gaussians of one half-set and the voxel map of the other half-set. "
    "Voxels know nothing of the Gaussian model, so it cannot inflate this curve.",
    "FSC": "Fourier shell correlation: how well two maps agree at each resolution, from 1 (identical) "
    "to 0 (unrelated).",
    "Guinier plot": "Logarithm of the map's amplitude against squared frequency; its slope gives the "
    "B-factor.",
    "half-maps": "Two maps, each made from one half of the particles (a half-set) without the other.",
    "local resolution": "Resolution around a voxel: where the FSC of the half-maps in a small window "
    "falls below 0.5. This is stricter than 0.143, so the median is coarser than the headline.",
    "log-odds": "Logarithm of how much likelier an image is with the particle in it than without; in "
    "nats. 0: as likely as not.",
    "nats": "Unit of log-likelihood (natural logarithm): 1 nat is a factor of 2.7.",
    "noise substitution": "Control: the phases of all images are replaced by noise beyond some "
    "resolution and the fits repeated. What the half-maps still share there comes from the model.",
    "Nyquist": "The finest resolution that the pixels can hold: twice the pixel size.",
    "prior": "What a fit assumes before it sees data: here, how strong the map can be at each "
    "resolution, estimated from the half-maps.",
    "SCF": "Sampling compensation factor: how evenly the views cover Fourier space. 1: uniform; "
    "0.81: side views about one axis; lower: directions are missing.",
    "unseen particles": "Held-out particles: those of the other half-set, which the fit does not use.",
    "voxel baseline": "The map on voxels, by regularised least squares from the same particles, "
    "without Gaussians.",
}
_FOUND = re.compile(
    r"(?<![\w-])(?:"
    + "|".join(sorted(map(re.escape, TERMS), key=len, reverse=True))
    + r")\b(?!\.\w)",
    re.IGNORECASE,
)
_MEANINGS = {term.lower(): (term, meaning) for term, meaning in TERMS.items()}


@dataclass(frozen=True, slots=True)
class Glossary:
    """The terms that a page has used so far."""

    used: set[str] = field(default_factory=set)

    def explained(self, text: str) -> Markup:
        """``text`` as HTML, the first occurrence of each term with its meaning on hover."""
        seen: set[str] = set()

        def abbreviation(found: re.Match[str]) -> str:
            term, meaning = _MEANINGS[found[0].lower()]
            if term in seen:
                return found[0]
            seen.add(term)
            self.used.add(term)
            return f'<abbr title="{escape(meaning)}">{found[0]}</abbr>'

        return Markup(_FOUND.sub(abbreviation, str(escape(text))))

    def words(self) -> list[tuple[str, str]]:
        """Terms and meanings that were used, in alphabetical order."""
        return [(term, meaning) for term, meaning in TERMS.items() if term in self.used]
