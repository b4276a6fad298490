"""Numbers as annotations and tables spell them. Pure."""


def whole_number(value: object) -> int | None:
    """The whole number that a value means: 7, 7.0, "7" and "7.0" mean 7; None for anything else."""
    if type(value) is int:
        return value
    number = number_in(value)
    return int(number) if number is not None and number == int(number) else None


def number_in(value: object) -> float | None:
    """The number that a value means, spelled as text or not; None for anything else, and from 2^53 on."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) in (int, float) and abs(value) < 2**53:  # type: ignore[arg-type]  # false for NaN too
        return value  # type: ignore[return-value]
    return None
