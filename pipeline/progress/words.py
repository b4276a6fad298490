"""What people read of a stage, on a terminal and in a log."""

from pipeline.progress.stages import BYTES, Stage

_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "KB"))


def title(stage: Stage) -> str:
    """Its first line: `measuring maps: 37 images`."""
    return stage.name if stage.total is None else f"{stage.name}: {amount(stage.total, stage.unit)}"


def line(stage: Stage) -> str:
    """How far it is: `measuring maps: 24 of 37 images, 2.9 images/s, 0:04 left; 1 failed`."""
    notes = f"; {stage.notes}" if stage.notes else ""
    return f"{stage.name}: {', '.join(facts(stage))}{notes}"


def summary(stage: Stage) -> str:
    """Its last line: `measuring maps: 37 images in 0:12`."""
    notes = f"; {stage.notes}" if stage.notes else ""
    done = stage.done - stage.earlier
    took = minutes(stage.elapsed_s)
    return f"{stage.name}: {f'{amount(done, stage.unit)} in ' if stage.unit else ''}{took}{notes}"


def facts(stage: Stage) -> list[str]:
    """Count, rate and time left, as far as they are known; for a stage without parts, how long it has taken."""
    if not stage.unit:
        return [f"{minutes(stage.elapsed_s)} so far"]
    of = "" if stage.total is None else f"{_plain(stage.done, stage.unit, stage.total)} of "
    found = [of + amount(stage.done if stage.total is None else stage.total, stage.unit)]
    rate, left_s = stage.pace.per_s(), stage.pace.left_s()
    if rate is not None:
        found.append(f"{_rate(rate, stage.unit)}/s")
    if left_s is not None:
        found.append(f"{minutes(left_s)} left")
    return found


def amount(number: float, unit: str) -> str:
    """A number with its unit: `37 images`, `1 image`, `12.3 MB`."""
    if unit == BYTES:
        return f"{_plain(number, unit, number)} {_scale(number)[1]}"
    return f"{number:,.0f} {unit[:-1] if number == 1 and unit.endswith('s') else unit}"


def minutes(seconds: float) -> str:
    """A duration as `0:59`, or with hours as `2:03:04`."""
    hours, rest = divmod(round(max(0.0, seconds)), 3600)
    whole_minutes, rest_s = divmod(rest, 60)
    return f"{hours}:{whole_minutes:02d}:{rest_s:02d}" if hours else f"{whole_minutes}:{rest_s:02d}"


def _plain(number: float, unit: str, scale_of: float) -> str:
    if unit != BYTES:
        return f"{number:,.0f}"
    divisor = _scale(scale_of)[0]
    return f"{number / divisor:.1f}" if divisor > 1 else f"{number:.0f}"


def _scale(number: float) -> tuple[float, str]:
    return next(((divisor, name) for divisor, name in _UNITS if number >= divisor), (1.0, "B"))


def _rate(rate: float, unit: str) -> str:
    if unit == BYTES:
        return amount(rate, unit)
    return f"{rate:,.{0 if rate >= 100 else 1 if rate >= 1 else 2}f} {unit}"
