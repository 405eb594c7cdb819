"""MP4 files of films, read again as a player reads them."""

import io

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation

from worker.gpu.filming import Film, encode_mp4

COLOURS = [(220, 30, 30), (30, 160, 50), (30, 70, 220), (250, 250, 250), (15, 15, 15), (250, 140, 20)]
EXACT = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
"""Back to RGB as exactly as 8 bits allow: the quick way is up to three levels off by itself."""


def drifting_square(count: int, width: int, height: int, fps: int) -> Film:
    """A white square that moves to the right on a ground that changes its colour."""
    frames = np.zeros((count, height, width, 3), dtype=np.uint8)
    for index, frame in enumerate(frames):
        frame[:] = COLOURS[index % len(COLOURS)]
        frame[8:24, 2 * index : 2 * index + 16] = 255
    return Film(frames, fps)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (64, 40), (8, 8), (720, 480), (1280, 720)])
@pytest.mark.parametrize(("count", "fps"), [(16, 8), (1, 24), (5, 16)])
def test_a_file_has_the_films_frames_size_and_pace(width: int, height: int, count: int, fps: int) -> None:
    film = drifting_square(count, width, height, fps)

    file = encode_mp4(film)

    with av.open(io.BytesIO(file), "r") as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        assert container.format.name.split(",")[1] == "mp4"
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (width, height)
        assert stream.average_rate == fps
        assert len(decoded) == stream.frames == count
        assert [frame.time for frame in decoded] == pytest.approx([index / fps for index in range(count)])


def test_colours_are_kept() -> None:
    film = drifting_square(12, 128, 96, fps=8)

    with av.open(io.BytesIO(encode_mp4(film)), "r") as container:
        decoded = [
            frame.reformat(
                format="rgb24",
                src_colorspace=frame.colorspace,
                src_color_range=frame.color_range,
                interpolation=EXACT,
            ).to_ndarray()
            for frame in container.decode(video=0)
        ]

    for shown, meant in zip(decoded, film.frames, strict=True):
        assert np.abs(shown.mean((0, 1)) - meant.mean((0, 1))).max() < 3


def test_a_file_says_which_colours_it_means() -> None:
    with av.open(io.BytesIO(encode_mp4(drifting_square(2, 64, 64, fps=8))), "r") as container:
        context = container.streams.video[0].codec_context

        assert (context.colorspace, context.color_range) == (Colorspace.ITU709, ColorRange.MPEG)


def test_playing_can_begin_before_all_is_loaded() -> None:
    file = encode_mp4(drifting_square(8, 64, 64, fps=8))

    assert file[4:8] == b"ftyp"
    assert file.index(b"moov") < file.index(b"mdat")
