"""The windows of a panorama."""

WINDOWS_PER_SIDE = 8
"""How many windows lie over a position along one side, in the middle of a panorama."""


def views(height: int, width: int, window: int) -> list[tuple[slice, slice]]:
    """Windows of `window` latent positions a side, an eighth of it apart, that cover all of the picture.

    Along a side that is shorter than the window there is one window of that side's length.
    """
    return [(rows, columns) for rows in _spans(height, window) for columns in _spans(width, window)]


def _spans(length: int, window: int) -> list[slice]:
    if length <= window:
        return [slice(0, length)]
    stride = max(1, window // WINDOWS_PER_SIDE)
    starts = list(range(0, length - window + 1, stride))
    if starts[-1] != length - window:  # the last one ends with the picture
        starts.append(length - window)
    return [slice(start, start + window) for start in starts]
