"""Encodes films into MP4 files that browsers play; in slots, never on the engine's thread."""

import tempfile
from pathlib import Path

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from worker.gpu.filming.film import Film

QUALITY = {"crf": "18", "preset": "medium"}
"""At 18 the eye hardly tells x264's frames from those that went in."""


def encode_mp4(film: Film) -> bytes:
    """H.264 in yuv420p with the index in front, so that playing begins before all is loaded. Width and height
    must be even."""
    # The muxer reads its own file again to move the index, which it can't do in memory.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "film.mp4"
        _write(film, file)
        return file.read_bytes()


def _write(film: Film, file: Path) -> None:
    with av.open(str(file), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=film.fps, options=QUALITY)
        stream.height, stream.width = film.frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        # Said in the file, for players guess by the picture's size otherwise.
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        for pixels in film.frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
