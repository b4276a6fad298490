"""What an audit is planned with. Light to import: the command line reads it."""

from dataclasses import dataclass

MOST_RATERS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """How many images are drawn, who judges them, and what is to be proven. All of it is fixed before anybody looks."""

    images: int = 400
    """Accepted images to draw, 1 or more; all if there are fewer. Each takes a person 15 to 30 seconds."""
    raters: int = 2
    """People who judge, 1 to 20. Each gets the images in a different order, and never sees
    the others' answers."""
    overlap: float = 0.25
    """Share of the images that two raters judge, 0 to 1: it shows how far people agree. 0 with one rater."""
    strata: str = "none"
    """Draw from each kind of image in proportion: `size` (objects up to 32 x 32 px, up to 96 x 96 px, larger),
    `supercategory`, `split`, or a score, whose quarters are the strata. `none`: a simple random sample. Certificates
    have a table by stratum then; their bounds on the whole release are a little wider."""
    beacon: str = ""
    """A public value that nobody could know when the release was made, such as a later day's closing figures. It is
    mixed into the draw, so that not even who made the release could choose the sample."""
    confidence: float = 0.95
    """Confidence of each promise, 0.5 to 0.999."""
    ious: tuple[float, ...] = (0.75, 0.9, 0.95)
    """The IoUs for which the share of masks at least that good is bounded, jointly at the confidence."""
    predict_with: str = "pairwise_iou"
    """A score in [0, 1] that says how good a mask is: it sharpens the interval of the mean IoU if it predicts well
    (prediction-powered inference). Empty: none."""
    advise: str = ""
    """Advise on a bound of this score, such as `ensemble_variance`: the loosest one under which the share of masks
    below is certain. Empty: no advice."""
    advise_iou: float = 0.9
    """The IoU that an advised bound is to ensure."""
    advise_share: float = 0.95
    """The share of accepted masks that must reach that IoU."""

    def __post_init__(self) -> None:
        """Check every bound.

        Raises: ValueError: a field is out of its bounds; the message names it.
        """
        if self.images < 1:
            raise ValueError(f"images is {self.images}; at least 1")
        if not 1 <= self.raters <= MOST_RATERS:
            raise ValueError(f"raters is {self.raters}; 1 to {MOST_RATERS}")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"overlap is {self.overlap}; 0 to 1")
        if not 0.5 <= self.confidence <= 0.999:
            raise ValueError(f"confidence is {self.confidence}; 0.5 to 0.999")
        if not self.ious or not all(0 < iou <= 1 for iou in self.ious) or len(set(self.ious)) != len(self.ious):
            raise ValueError(f"ious is {self.ious}; one or more different numbers above 0, at most 1")
        for name in ("advise_iou", "advise_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; above 0, at most 1")
